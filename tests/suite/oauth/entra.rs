//! Microsoft Entra ID: tenants, and addresses that their administrators choose (nOAuth).

use serde_json::json;

use super::{Stand, known_to_app, verified_account};
use crate::support::database::{Database, on_both_databases};
use crate::support::provider::{Kind, Lie, Persona, TENANT};

const OTHER: &str = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";
const CONSUMERS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

/// Open to all organizations.
fn open(database: Database) -> Stand {
    Stand::of(database, Kind::Entra, "tenant = \"organizations\"")
}

/// Ada as another tenant would have her.
fn of(stand: &Stand, tenant: &str) -> [Lie; 2] {
    let issuer = format!("{}/{tenant}/v2.0", stand.provider.origin);
    [Lie::Claim("iss", json!(issuer)), Lie::Claim("tid", json!(tenant))]
}

fn tells(stand: &Stand, lies: [Lie; 2]) {
    for lie in lies {
        stand.provider.lies(lie);
    }
}

on_both_databases! {
    fn oidc_10_and_lk_5_an_address_that_a_tenant_chose_opens_no_account(database) {
        let stand = open(database);
        verified_account(&stand, "ada@example.com");
        // Without `xms_edov`, or with it saying no.
        for said in [None, Some(json!(false)), Some(json!("false")), Some(json!("0")), Some(json!(0)), Some(json!([true]))] {
            let ada = Persona::ada().unverified();
            stand.provider.is_visited_by(match &said {
                Some(said) => ada.with("xms_edov", said.clone()),
                None => ada,
            });
            stand.refuses(403, "ACCOUNT_NOT_LINKED", &format!("{said:?}"));
        }
        // Nor does a claim that Microsoft does not make.
        stand.provider.is_visited_by(Persona::ada().unverified().with("email_verified", true));
        stand.refuses(403, "ACCOUNT_NOT_LINKED", "email_verified");
        stand.provider.is_visited_by(Persona::ada());
        stand.enters();
        assert_eq!(stand.rows()[0], 1, "the domain belongs to the tenant");
    }

    fn oa_16_the_same_object_id_in_another_tenant_is_somebody_else(database) {
        let stand = open(database);
        let ada = known_to_app(&stand, &mut stand.enters());
        tells(&stand, of(&stand, OTHER));
        stand.provider.is_visited_by(Persona::new(&Persona::ada().subject, "mallory@example.net"));
        assert_ne!(known_to_app(&stand, &mut stand.enters()), ada);
    }

    fn lk_10_only_the_configured_tenant_signs_in(database) {
        let stand = Stand::of(database, Kind::Entra, "");
        for tenant in [OTHER, CONSUMERS] {
            stand.provider.repents();
            tells(&stand, of(&stand, tenant));
            stand.refuses(403, "ACCOUNT_NOT_ALLOWED", tenant);
        }
        stand.provider.repents();
        stand.enters();
    }

    fn lk_10_organizations_are_not_private_accounts(database) {
        let stand = open(database);
        tells(&stand, of(&stand, CONSUMERS));
        stand.refuses(403, "ACCOUNT_NOT_ALLOWED", "a private account");
    }

    fn lk_10_a_list_of_tenants_is_held_against_the_token(database) {
        let stand = Stand::of(database, Kind::Entra, &format!("tenant = \"organizations\"\nallowed_tenants = [\"{TENANT}\"]"));
        stand.enters();
        tells(&stand, of(&stand, OTHER));
        stand.refuses(403, "ACCOUNT_NOT_ALLOWED", "another tenant");
    }

    fn item_2_the_issuer_is_made_with_the_tokens_own_tenant(database) {
        let stand = open(database);
        let issuer = |tenant: &str| json!(format!("{}/{tenant}/v2.0", stand.provider.origin));
        for (what, lies) in [
            ("another tenant than the issuer's", [Lie::Claim("tid", json!(OTHER)), Lie::Claim("ver", json!("2.0"))]),
            ("the issuer of another tenant", [Lie::Claim("iss", issuer(OTHER)), Lie::Claim("ver", json!("2.0"))]),
            ("a tenant of another type", [Lie::Claim("tid", json!([TENANT])), Lie::Claim("ver", json!("2.0"))]),
        ] {
            stand.provider.repents();
            tells(&stand, lies);
            stand.refuses(502, "UNABLE_TO_GET_USER_INFO", what);
        }
        for name in ["{tenantid}", "common", "organizations", "", &format!("{TENANT}/x")] {
            stand.provider.repents();
            stand.provider.lies(Lie::Claim("iss", issuer(name)));
            stand.refuses(400, "ISSUER_MISMATCH", name);
        }
        stand.provider.repents();
        stand.enters();
    }

    fn a_person_without_object_id_is_nobody(database) {
        let stand = open(database);
        stand.refuses_lies(&[
            Lie::NoClaim("oid"),
            Lie::Claim("oid", json!("")),
            Lie::Claim("oid", json!("../x")),
            Lie::Claim("oid", json!(5)),
        ], 502, "UNABLE_TO_GET_USER_INFO");
    }

    fn display_names_for_signing_in_are_no_addresses(database) {
        let stand = open(database);
        verified_account(&stand, "victim@example.com");
        let mallory = Persona::new("5", "x@example.com").without_email();
        let mallory = mallory.with("preferred_username", "victim@example.com").with("upn", "victim@example.com");
        stand.provider.is_visited_by(mallory);
        stand.refuses(400, "EMAIL_NOT_FOUND", "preferred_username");
    }
}
