//! Mistakes that were once found in the product, one test for each, filed by what went wrong.

mod recovery;
mod reports;
mod sending;
