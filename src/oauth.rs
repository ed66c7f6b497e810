//! Identity providers: what is known of each, what is asked of them, and how their answers are checked.
