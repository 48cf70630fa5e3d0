//! How a text is cut into SMS segments: GSM 03.38 (3GPP TS 23.038) and concatenation (TS 23.040).
//!
//! A text in the GSM-7 alphabet fits 160 septets, or 153 a segment when it needs several; any other
//! text is UCS-2 with 70 or 67 code units. An escape pair (`€` is two septets) and a surrogate pair
//! never straddle two segments, so counting is filling, not dividing.

use serde::{Deserialize, Serialize};

/// The alphabet a text is sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encoding {
    #[serde(rename = "GSM-7")]
    Gsm7,
    #[serde(rename = "UCS-2")]
    Ucs2,
}

/// A text's alphabet and how many segments it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segments {
    pub encoding: Encoding,
    pub count: usize,
}

/// The basic alphabet: one septet each.
const GSM7_BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?\
¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";

/// The extension table: an escape and one more septet each.
const GSM7_EXTENDED: &str = "\u{c}^{}\\[~]|€";

/// Counts the segments of a text. An empty text takes one; whether it may be sent is decided
/// elsewhere.
pub fn segments(text: &str) -> Segments {
    if text.chars().all(|c| septets(c).is_some()) {
        let units = text.chars().filter_map(septets);
        Segments {
            encoding: Encoding::Gsm7,
            count: fill(units, 160, 153),
        }
    } else {
        let units = text.chars().map(char::len_utf16);
        Segments {
            encoding: Encoding::Ucs2,
            count: fill(units, 70, 67),
        }
    }
}

fn septets(c: char) -> Option<usize> {
    if GSM7_BASIC.contains(c) {
        Some(1)
    } else if GSM7_EXTENDED.contains(c) {
        Some(2)
    } else {
        None
    }
}

/// How many segments characters of these units fill; a character is never cut in two.
fn fill(units: impl Iterator<Item = usize> + Clone, single: usize, several: usize) -> usize {
    if units.clone().sum::<usize>() <= single {
        return 1;
    }
    let (mut count, mut used) = (1, 0);
    for unit in units {
        if used + unit > several {
            (count, used) = (count + 1, 0);
        }
        used += unit;
    }
    count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn count(text: &str) -> (Encoding, usize) {
        let Segments { encoding, count } = segments(text);
        (encoding, count)
    }

    #[test]
    fn the_edges_of_gsm7() {
        assert_eq!(count(&"a".repeat(160)), (Encoding::Gsm7, 1));
        assert_eq!(count(&"a".repeat(161)), (Encoding::Gsm7, 2));
        assert_eq!(count(&"a".repeat(306)), (Encoding::Gsm7, 2));
        assert_eq!(count(&"a".repeat(307)), (Encoding::Gsm7, 3));
        assert_eq!(count(&"€".repeat(80)), (Encoding::Gsm7, 1));
        assert_eq!(count(&"€".repeat(81)), (Encoding::Gsm7, 2));
    }

    #[test]
    fn the_edges_of_ucs2() {
        assert_eq!(count(&"я".repeat(70)), (Encoding::Ucs2, 1));
        assert_eq!(count(&"я".repeat(71)), (Encoding::Ucs2, 2));
        assert_eq!(count(&"🙂".repeat(35)), (Encoding::Ucs2, 1));
        // 33 pairs fill 66 of 67 units; the 34th does not fit into what is left.
        assert_eq!(count(&"🙂".repeat(67)), (Encoding::Ucs2, 3));
    }

    #[test]
    fn a_pair_never_straddles_two_segments() {
        let text = format!("{0}€{0}", "a".repeat(152));
        assert_eq!(count(&text), (Encoding::Gsm7, 3));
    }

    #[test]
    fn the_alphabet_is_complete() {
        assert_eq!(
            GSM7_BASIC.chars().count(),
            127,
            "128 positions less the escape"
        );
        assert_eq!(GSM7_EXTENDED.chars().count(), 10);
    }

    proptest! {
        #[test]
        fn a_longer_text_never_takes_fewer_segments(text in "\\PC{0,400}", more in "\\PC{1,20}") {
            let longer = text.clone() + &more;
            prop_assert!(segments(&longer).count >= segments(&text).count);
        }

        #[test]
        fn every_segment_holds_what_it_may(text in "[a-z€🙂я]{0,400}") {
            let Segments { encoding, count } = segments(&text);
            let (single, several, units) = match encoding {
                Encoding::Gsm7 => (160, 153, text.chars().filter_map(septets).sum::<usize>()),
                Encoding::Ucs2 => (70, 67, text.encode_utf16().count()),
            };
            let most = if count == 1 { single } else { count * several };
            prop_assert!(units <= most);
            // A segment wastes at most the one unit that a pair would not fit into.
            prop_assert!(count == 1 || units > (count - 1) * (several - 1));
        }
    }
}
