//! The words of the pages to which links in mails lead.

use serde::Deserialize;

/// `[forgot_password]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::ui) struct ForgotPassword {
    pub(in crate::ui) title: String,
    pub(in crate::ui) lead: String,
    pub(in crate::ui) submit: String,
    pub(in crate::ui) back: String,
}

/// `[reset_password]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::ui) struct ResetPassword {
    pub(in crate::ui) title: String,
    pub(in crate::ui) lead: String,
    pub(in crate::ui) password: String,
    pub(in crate::ui) submit: String,
}

/// `[verify_email]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::ui) struct VerifyEmail {
    pub(in crate::ui) title: String,
    pub(in crate::ui) lead: String,
    pub(in crate::ui) lead_password: String,
    pub(in crate::ui) submit: String,
    pub(in crate::ui) submit_password: String,
    pub(in crate::ui) not_known: String,
    pub(in crate::ui) not_known_link: String,
}

/// `[change_email]` and `[delete_account]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::ui) struct Step {
    pub(in crate::ui) title: String,
    pub(in crate::ui) lead: String,
    pub(in crate::ui) submit: String,
    pub(in crate::ui) cancel: String,
}
