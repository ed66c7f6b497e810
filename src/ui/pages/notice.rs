//! What happened before a page was opened, by a word in its query.

/// What happened before the page was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The visitor signed out.
    SignedOut,
    /// The visitor signed up; worded so that it does not tell whether the address was taken.
    SignedUp,
    /// The name was changed.
    NameSaved,
    /// The password was changed, or there is one now.
    PasswordChanged,
    /// A mail went to the new address; worded so that it does not tell whether that was taken.
    NewEmailSent,
    /// A mail went to the address that is to be proved.
    VerificationSent,
    /// Another way to sign in was added.
    MethodLinked,
    /// A way to sign in was taken away.
    MethodUnlinked,
    /// One session was ended.
    SessionEnded,
    /// All other sessions were ended.
    SessionsEnded,
    /// The visitor signed up where addresses are proved; worded like [`Self::SignedUp`].
    MailSent,
    /// A new password was asked for; worded so that it does not tell whether there is an account.
    ResetSent,
    /// A new password was set by a link.
    PasswordReset,
    /// The address was proved.
    EmailVerified,
    /// Another address counts.
    EmailChanged,
    /// A mail asks whether the account is really to go.
    DeletionSent,
    /// The account is gone.
    AccountDeleted,
}

impl Notice {
    /// Every notice.
    pub const ALL: &[Self] = &[
        Self::SignedOut,
        Self::SignedUp,
        Self::NameSaved,
        Self::PasswordChanged,
        Self::NewEmailSent,
        Self::VerificationSent,
        Self::MethodLinked,
        Self::MethodUnlinked,
        Self::SessionEnded,
        Self::SessionsEnded,
        Self::MailSent,
        Self::ResetSent,
        Self::PasswordReset,
        Self::EmailVerified,
        Self::EmailChanged,
        Self::DeletionSent,
        Self::AccountDeleted,
    ];

    /// The word for the query (`?notice=signed-out`).
    pub const fn key(self) -> &'static str {
        match self {
            Self::SignedOut => "signed-out",
            Self::SignedUp => "signed-up",
            Self::NameSaved => "name-saved",
            Self::PasswordChanged => "password-changed",
            Self::NewEmailSent => "new-email-sent",
            Self::VerificationSent => "verification-sent",
            Self::MethodLinked => "method-linked",
            Self::MethodUnlinked => "method-unlinked",
            Self::SessionEnded => "session-ended",
            Self::SessionsEnded => "sessions-ended",
            Self::MailSent => "mail-sent",
            Self::ResetSent => "reset-sent",
            Self::PasswordReset => "password-reset",
            Self::EmailVerified => "email-verified",
            Self::EmailChanged => "email-changed",
            Self::DeletionSent => "deletion-sent",
            Self::AccountDeleted => "account-deleted",
        }
    }

    /// Whether it goes on with a mail.
    pub(super) const fn by_mail(self) -> bool {
        matches!(
            self,
            Self::NewEmailSent
                | Self::VerificationSent
                | Self::MailSent
                | Self::ResetSent
                | Self::DeletionSent
        )
    }

    /// From the word in a query; `None` for any other.
    pub fn parse(key: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|notice| notice.key() == key)
    }
}
