//! What the specification demands of a runtime, and which tests there are for it.
pub fn coverage() -> String {
    String::new()
}
