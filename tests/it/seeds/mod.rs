//! The requirements of the four seed documents, from which this product was built.
//!
//! Each sentence has a test whose name repeats it, so that it can be found. The sentences about
//! particular providers and about numbers are tested in `messagebird`, `callback` and `numbers`, by
//! tests whose names begin with `seed_2` or `seed_3`.

mod seed_0;
mod seed_1;
mod seed_2;
mod seed_3;
