//! One test per sentence of the seed documents that the main path covers, named so that one finds the sentence.
