//! Nothing: the tests have interpreters load the packages that this one has built.
