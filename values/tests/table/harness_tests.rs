//! Whether the harness sees what is wrong: with types that are broken on purpose.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::harness::{Case, at_worst, becomes, case, complaints, equal, error, pool};

/// How a [`Broken`] value is wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    NotAtAll,
    CannotBeEncoded,
    CannotBeDecoded,
    IsAnotherOne,
    /// And cannot be decoded then.
    IsAnotherOneInTheWorker,
}

#[derive(Debug, PartialEq)]
struct Broken(Way);

const NOT_AT_ALL: u8 = 0;
const NOT_TO_BE_DECODED: u8 = 1;
const ANOTHER_ONE: u8 = 2;
const ANOTHER_ONE_TO_BE_BROKEN: u8 = 3;

impl Serialize for Broken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(match self.0 {
            Way::NotAtAll => NOT_AT_ALL,
            Way::CannotBeEncoded => return Err(ser::Error::custom("not to be encoded")),
            Way::CannotBeDecoded => NOT_TO_BE_DECODED,
            Way::IsAnotherOne => ANOTHER_ONE,
            Way::IsAnotherOneInTheWorker => ANOTHER_ONE_TO_BE_BROKEN,
        })
    }
}

impl<'de> Deserialize<'de> for Broken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            NOT_TO_BE_DECODED => Err(de::Error::custom("not to be decoded")),
            ANOTHER_ONE_TO_BE_BROKEN => Ok(Self(Way::CannotBeDecoded)),
            _ => Ok(Self(Way::NotAtAll)),
        }
    }
}

/// What comes of it in all six places.
async fn words(case: &Case) -> Vec<&'static str> {
    let pool = pool();
    let outcomes = case.send(&pool).await.outcomes;
    pool.shutdown().await;
    outcomes.iter().map(super::harness::Outcome::word).collect()
}

#[tokio::test]
async fn each_outcome_is_seen_in_each_place() {
    let cases = [
        ("same", case!("own", Broken, "", Broken(Way::NotAtAll))),
        ("error", case!("own", Broken, "", Broken(Way::CannotBeEncoded))),
        ("error", case!("own", Broken, "", Broken(Way::CannotBeDecoded))),
        ("WRONG", case!("own", Broken, "", Broken(Way::IsAnotherOne))),
        ("FAILED", case!("own", Broken, "", Broken(Way::IsAnotherOneInTheWorker))),
        ("other", case!("own", Broken, "", Broken(Way::IsAnotherOne), becomes(not_at_all))),
    ];
    for (word, case) in cases {
        assert_eq!(words(&case).await, [word; 6]);
    }
}

fn not_at_all() -> Broken {
    Broken(Way::NotAtAll)
}

/// Whether the expectation is fulfilled.
async fn holds(case: Case) -> bool {
    complaints(&[case]).await.is_empty()
}

#[tokio::test]
async fn an_expectation_takes_nothing_else() {
    use Way::{CannotBeDecoded, CannotBeEncoded, IsAnotherOne, IsAnotherOneInTheWorker, NotAtAll};

    macro_rules! holds_for {
        ($expect:expr) => {
            [
                holds(case!("own", Broken, "", Broken(NotAtAll), $expect)).await,
                holds(case!("own", Broken, "", Broken(CannotBeEncoded), $expect)).await,
                holds(case!("own", Broken, "", Broken(CannotBeDecoded), $expect)).await,
                holds(case!("own", Broken, "", Broken(IsAnotherOne), $expect)).await,
                holds(case!("own", Broken, "", Broken(IsAnotherOneInTheWorker), $expect)).await,
            ]
        };
    }

    let (yes, no) = (true, false);
    assert_eq!(holds_for!(equal()), [yes, no, no, no, no]);
    assert_eq!(holds_for!(error("")), [no, yes, yes, no, no]);
    assert_eq!(holds_for!(error("to be decoded")), [no, no, yes, no, no]);
    assert_eq!(holds_for!(becomes(not_at_all)), [yes, no, no, yes, no]);
    assert_eq!(holds_for!(at_worst(not_at_all)), [yes, yes, yes, yes, no]);
}
