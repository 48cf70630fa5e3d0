//! The cells of a line of CSV. A quoted cell may hold commas, and quotes that are doubled.

/// The cells of a line; none if a quote is not closed, or is followed by anything but a comma.
pub(crate) fn cells(line: &str) -> Option<Vec<String>> {
    let (mut cells, mut rest) = (Vec::new(), line);
    loop {
        let (cell, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_cell(quoted)?,
            None => rest
                .split_once(',')
                .map_or((rest.to_owned(), None), |(cell, rest)| {
                    (cell.to_owned(), Some(rest))
                }),
        };
        cells.push(cell);
        match after {
            Some(after) => rest = after,
            None => return Some(cells),
        }
    }
}

/// The cell whose opening quote was read, and what follows the comma after it, if there is one.
fn quoted_cell(text: &str) -> Option<(String, Option<&str>)> {
    let (mut cell, mut rest) = (String::new(), text);
    loop {
        let (part, after) = rest.split_once('"')?;
        cell.push_str(part);
        if let Some(doubled) = after.strip_prefix('"') {
            cell.push('"');
            rest = doubled;
        } else if after.is_empty() {
            return Some((cell, None));
        } else {
            return Some((cell, Some(after.strip_prefix(',')?)));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_cells_can_be_written_as_csv(row in vec("[^\r\n]{0,12}", 1..6)) {
            let quoted: Vec<_> = row.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
            prop_assert_eq!(cells(&quoted.join(",")), Some(row));
        }
    }
}
