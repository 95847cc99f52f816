//! The rules of the house as a test, so that `cargo test` alone finds what breaks them.

#[test]
fn the_repository_is_tidy() {
    xtask::tidy::run().expect("a tidy repository");
}
