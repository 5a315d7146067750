//! A step in words, for errors and traces.

use super::render::Words;
use super::{Plan, render_child, render_host};

impl Plan {
    /// What host step `index` does, with what.
    pub(crate) fn host_words(&self, index: usize) -> String {
        self.host.get(index).map_or_else(String::new, |p| line(&render_host::describe(&p.step, self)))
    }

    /// What child step `index` does, with what.
    pub(crate) fn child_words(&self, index: usize) -> String {
        self.child.get(index).map_or_else(String::new, |p| line(&render_child::describe(&p.step, self)))
    }
}

fn line(words: &Words) -> String {
    format!("{} {}", words.name, words.what).trim_end().to_owned()
}
