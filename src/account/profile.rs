//! What a user may say of themselves: a name on one line, and where a picture is.

/// Longest display name, in characters.
pub const LONGEST_NAME: usize = 128;
/// Longest address of a picture, in bytes.
const LONGEST_IMAGE: usize = 2048;

/// Whether this can be a display name: a line of text, for PostgreSQL takes no NUL, and mails and logs no line
/// ends.
pub fn is_name(name: &str) -> bool {
    name.chars().count() <= LONGEST_NAME && !name.chars().any(char::is_control)
}

/// Whether this can be the address of a picture.
pub fn is_picture(image: &str) -> bool {
    image.starts_with("https://")
        && image.len() <= LONGEST_IMAGE
        && image.bytes().all(|b| b.is_ascii_graphic())
}
