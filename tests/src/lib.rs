//! The local stack and what is tested on it.

pub mod economy;
pub mod fastsmsing;
