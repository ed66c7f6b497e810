//! Mail: what a message is and the ways in which one leaves.
