//! Whether a password is one of those that are tried first: a common word with a common ending, a walk over
//! the keyboard, a date.

use std::collections::HashSet;
use std::sync::LazyLock;

/// The parts and how they were put together; see the head of the file.
const PARTS: &str = include_str!("common.txt");

struct Parts {
    words: HashSet<&'static str>,
    endings: Vec<&'static str>,
    /// Each walk in both directions.
    walks: Vec<String>,
}

static COMMON: LazyLock<Parts> = LazyLock::new(|| {
    let mut parts = Parts { words: HashSet::new(), endings: vec![""], walks: Vec::new() };
    for line in PARTS.lines() {
        match line.split_at_checked(1) {
            None | Some(("#", _)) => {}
            Some(("+", endings)) => parts.endings.extend(endings.split_whitespace()),
            Some(("~", walks)) => {
                for walk in walks.split_whitespace() {
                    parts.walks.push(walk.to_owned());
                    parts.walks.push(walk.chars().rev().collect());
                }
            }
            Some(_) => parts.words.extend(line.split_whitespace()),
        }
    }
    parts
});

/// Whether `password`, already in lower case, is common.
pub(super) fn is_common(password: &str) -> bool {
    let common = &*COMMON;
    is_repetition(password)
        || is_date(password)
        || common.walks.iter().any(|walk| walk.contains(password))
        || common
            .endings
            .iter()
            .filter_map(|ending| password.strip_suffix(ending))
            .any(|word| common.has(word))
}

impl Parts {
    /// A word, a word said twice, or either with the usual signs in place of letters.
    fn has(&self, word: &str) -> bool {
        let (first, second) = word.split_at_checked(word.len() / 2).unwrap_or((word, ""));
        let word = if first == second { first } else { word };
        self.words.contains(word)
            || self.words.contains(plain(word, 'i').as_str())
            || self.words.contains(plain(word, 'l').as_str())
    }
}

/// `p@$$w0rd` as `password`; a `1` stands for `one`.
fn plain(word: &str, one: char) -> String {
    let letter = |c| match c {
        '@' | '4' => 'a',
        '3' => 'e',
        '0' => 'o',
        '$' | '5' => 's',
        '7' => 't',
        '1' | '!' => one,
        other => other,
    };
    word.chars().map(letter).collect()
}

/// One to four characters over and over.
fn is_repetition(password: &str) -> bool {
    let chars: Vec<char> = password.chars().collect();
    (1..=4).any(|unit| chars.len() >= 2 * unit && chars.iter().zip(&chars[unit..]).all(|(a, b)| a == b))
}

/// Eight digits that are a day from 1900 to 2099 in one of the usual orders.
fn is_date(password: &str) -> bool {
    let number = |at: std::ops::Range<usize>| password.get(at).and_then(|digits| digits.parse::<u32>().ok());
    let day_of = |year, a, b| match (number(year), number(a), number(b)) {
        (Some(1900..=2099), Some(a @ 1..=31), Some(b @ 1..=31)) => a.min(b) <= 12,
        _ => false,
    };
    password.len() == 8
        && password.bytes().all(|b| b.is_ascii_digit())
        && (day_of(0..4, 4..6, 6..8) || day_of(4..8, 0..2, 2..4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_more_than_three_thousand_passwords_of_eight_characters_are_common() {
        let long_words = COMMON.words.iter().filter(|word| word.len() >= 8).count();
        let with_endings =
            COMMON.words.len() * COMMON.endings.iter().filter(|ending| ending.len() >= 4).count();
        assert!(long_words > 800 && with_endings > 100_000, "{long_words} {with_endings}");
    }

    #[test]
    fn what_is_tried_first_is_found_in_its_usual_disguises() {
        for common in [
            "password",
            "password1",
            "password123!",
            "p@ssw0rd",
            "pa$$w0rd2024",
            "passw0rd",
            "letmein1",
            "1etmein!",
            "qwertyui",
            "qwertyuiop",
            "poiuytre",
            "12345678",
            "87654321",
            "1234567890",
            "1qaz2wsx",
            "q1w2e3r4",
            "aaaaaaaa",
            "11111111",
            "abcabcabc",
            "12341234",
            "abababab",
            "iloveyou",
            "sunshine",
            "michael1987",
            "dragon12345",
            "dragondragon",
            "monkeymonkey1",
            "welcome@123",
            "summer2024!",
            "trustno1",
            "changeme",
            "football",
            "princess1",
            "12031987",
            "31122001",
            "19870312",
            "12251999",
            "correcthorsebatterystaple",
        ] {
            assert!(is_common(common), "{common}");
        }
    }

    #[test]
    fn what_nobody_tries_first_is_left_alone() {
        for fine in [
            "correct horse battery staple",
            "vexed-quarry-lamp",
            "x7#kq92!pfl",
            "xkwmrtpb",
            "purple tandem ferry",
            "39482716",
            "73925184",
            "19871350",
            "möwenschrei über ost",
            "пингвин на крыше",
            "🦉🦉🐢🐢🦊🦊🐙🐙",
        ] {
            assert!(!is_common(fine), "{fine}");
        }
    }
}
