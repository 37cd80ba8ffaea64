//! Types that need no names are known to need none, so that nobody pays for names.

use procpool::{ValueForm, value_forms};

use crate::harness::identity;

macro_rules! assert_compact {
    ($($type:ty)*) => {$(
        let form = value_forms(identity::<$type>).expect("it is registered").arguments;
        assert_eq!(form, ValueForm::Compact, "{}", stringify!($type));
    )*};
}

procpool::register!(
    identity::<Vec<Option<(u8, String)>>>,
    identity::<std::net::SocketAddr>,
    identity::<std::path::PathBuf>,
    identity::<bytes::Bytes>,
    identity::<chrono::DateTime<chrono::Utc>>,
    identity::<chrono::NaiveDate>,
    identity::<time::OffsetDateTime>,
    identity::<jiff::Timestamp>,
    identity::<jiff::civil::DateTime>,
    identity::<uuid::Uuid>,
    identity::<url::Url>,
    identity::<semver::Version>,
    identity::<num_bigint::BigInt>,
    identity::<glam::Vec3>,
    identity::<indexmap::IndexMap<String, u8>>,
    identity::<smallvec::SmallVec<[u8; 4]>>,
);

#[test]
fn widely_used_types_are_compact() {
    assert_compact! {
        Vec<Option<(u8, String)>> std::net::SocketAddr std::path::PathBuf bytes::Bytes
        chrono::DateTime<chrono::Utc> chrono::NaiveDate time::OffsetDateTime
        jiff::Timestamp jiff::civil::DateTime uuid::Uuid url::Url semver::Version
        num_bigint::BigInt glam::Vec3
        indexmap::IndexMap<String, u8> smallvec::SmallVec<[u8; 4]>
    }
}
