//! What is written for people: that its links lead somewhere, and that it is whole where it says all of something.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sidegate::refusal::Refusal;

/// The front door and everything behind it, by path from the root.
fn texts() -> BTreeMap<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = fs::read_dir(root.join("docs")).expect("docs").flatten().map(|entry| entry.file_name());
    let pages = pages.map(|name| Path::new("docs").join(name));
    let front = ["README.md", "SECURITY.md", "CHANGELOG.md"].map(PathBuf::from);
    pages
        .chain(front)
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| {
            let text = fs::read_to_string(root.join(&path)).expect("it can be read");
            (path, text)
        })
        .collect()
}

/// Lines that are no code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// What the headings of a page can be linked by, as code hosts make it.
fn anchors(text: &str) -> Vec<String> {
    let headings = prose(text).filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let words = line.trim_start_matches('#').trim().to_lowercase();
            let kept = words.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[test]
fn every_link_within_the_documentation_leads_somewhere() {
    let (root, texts) = (Path::new(env!("CARGO_MANIFEST_DIR")), texts());
    let (mut complaints, mut count) = (Vec::new(), 0);
    for (page, text) in &texts {
        let links = prose(text).flat_map(|line| line.split("](").skip(1));
        for link in links.filter_map(|rest| rest.split(')').next()).filter(|link| !link.contains("://")) {
            count += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.clone(),
                file => match page.parent().expect("a folder").join(file) {
                    path if path.starts_with("docs/..") => path.components().skip(2).collect(),
                    path => path,
                },
            };
            let there = root.join(&target).exists();
            let anchored = anchor.is_empty()
                || texts.get(&target).is_some_and(|text| anchors(text).iter().any(|known| known == anchor));
            if !there || !anchored {
                complaints.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(count > 40 && complaints.is_empty(), "{count} links\n{}", complaints.join("\n"));
}

#[test]
fn every_page_can_be_reached_from_the_front_door() {
    let texts = texts();
    let front = &texts[Path::new("README.md")];
    for page in texts.keys().filter(|page| page.starts_with("docs")) {
        assert!(
            front.contains(&format!("]({})", page.display())),
            "the README has no link to {}",
            page.display()
        );
    }
}

#[test]
fn every_refusal_is_explained_once_with_its_status() {
    let texts = texts();
    let rows = texts[Path::new("docs/refusals.md")].lines().filter_map(|line| {
        let (code, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
        let (status, _) = rest.split_once(" | ")?;
        Some((code, status.parse::<u16>().ok()?))
    });
    let mut explained: Vec<_> = rows.collect();
    let mut all: Vec<_> =
        Refusal::ALL.iter().map(|refusal| (refusal.code(), refusal.status().as_u16())).collect();
    explained.sort_unstable();
    all.sort_unstable();
    assert_eq!(explained, all, "docs/refusals.md and src/refusal.rs");
}
