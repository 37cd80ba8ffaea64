//! As `result_reference`, without a call.

async fn name(_number: u64) -> &'static str {
    "name"
}

procpool::register!(name);

fn main() {}
