//! The tests, through the front door, against the real functions on the local stack.

mod path;
