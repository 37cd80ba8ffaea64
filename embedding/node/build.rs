//! Leaves what Node has to the moment when it loads the addon.

fn main() {
    napi_build::setup();
}
