//! The caller's own account: tokens, password, and sign-ins through a browser.
//!
//! A token never has more than its principal, and a token that is made with a token never has more than that one: the same or
//! fewer actions and repositories, and the same or an earlier end. A token that is limited to actions without `manage`
//! makes, lists and revokes no tokens, except that any token may revoke itself.

use std::sync::Arc;

use async_trait::async_trait;
use entrepot_kit::accounts::WebLoginState;
use entrepot_kit::{Accounts, Error, NewToken, Result, Timestamp, TokenInfo, TokenRequest, WebLogin};
use http::StatusCode;
use secrecy::SecretString;

use super::authenticate::token_is_live;
use super::caller::{Caller, Credentials, RequestFacts};
use super::scope::TokenScope;
use super::token::TokenText;
use super::{Access, audit_row, web_login};
use crate::store::model::{TokenRow, WebLoginStanding};

/// Live tokens of one principal.
const MOST_TOKENS: usize = 1000;
/// Longest name of a token.
const LONGEST_NAME: usize = 256;

/// The accounts façade for one request.
struct CallerAccounts {
    access: Arc<Access>,
    caller: Caller,
    facts: RequestFacts,
}

impl Access {
    /// The caller's account, for formats.
    pub fn accounts(self: &Arc<Self>, caller: &Caller, facts: &RequestFacts) -> Arc<dyn Accounts> {
        Arc::new(CallerAccounts { access: Arc::clone(self), caller: caller.clone(), facts: facts.clone() })
    }

    /// Finishes a browser sign-in: what its page does with the user name and password that were typed.
    ///
    /// # Errors
    /// 404 when nobody waits for it any more; 401 and 429 as for every sign-in.
    pub async fn complete_web_login(&self, page: &str, user: &str, password: SecretString, facts: &RequestFacts) -> Result<()> {
        let gone = || Error::not_found("nobody waits for this sign-in any more: begin again on the command line");
        if !self.catalog.web_login_waits(page, self.now()).await? {
            return Err(gone());
        }
        let caller = self.authenticate(Some(Credentials::Basic { user: user.to_owned(), password }), facts).await?;
        may_manage_tokens(&caller)?;
        let completed = self.catalog.complete_web_login(page, known(&caller)?, caller.token_id, self.now()).await?;
        if completed { Ok(()) } else { Err(gone()) }
    }

    /// Changes the caller's own password. Its tokens stay.
    ///
    /// # Errors
    /// 401 when the old one is wrong; 400 when the new one cannot be one; 403 with a token that does not allow `manage` everywhere.
    pub async fn change_own_password(&self, caller: &Caller, old: SecretString, new: SecretString, facts: &RequestFacts) -> Result<()> {
        if !caller.manages_everywhere() {
            return Err(Error::forbidden("the token in use may not change the password: use the password itself"));
        }
        self.confirm_password(caller, old, facts).await?;
        self.replace_password(caller.principal.kind, &caller.principal.name, &new).await?;
        self.changed(caller.name(), "set-password", caller.name(), String::new(), facts).await
    }

    /// Whether the password is the caller's own; a token does not do.
    async fn confirm_password(&self, caller: &Caller, password: SecretString, facts: &RequestFacts) -> Result<()> {
        let user = caller.principal.name.clone();
        let confirmed = self.authenticate(Some(Credentials::Basic { user, password }), facts).await?;
        if confirmed.id.is_some() && confirmed.id == caller.id && confirmed.token_id.is_none() {
            return Ok(());
        }
        Err(Error::unauthorized("the password is wrong"))
    }

    /// Makes a token for the caller, within the bounds of the token in use.
    ///
    /// # Errors
    /// 401 for nobody; 403 when the token in use may not make this one; 400 when the request makes no sense.
    pub async fn create_own_token(&self, caller: &Caller, mut wanted: TokenRequest, facts: &RequestFacts) -> Result<NewToken> {
        let owner = known(caller)?;
        may_manage_tokens(caller)?;
        let mut latest = None;
        if let Some(scope) = &caller.scope {
            scope.narrow(&mut wanted)?;
            latest = scope.expires;
        }
        self.create_token(owner, caller.name(), &caller.name(), wanted, latest, facts).await
    }

    /// Makes a token.
    pub(super) async fn create_token(
        &self,
        owner: i64,
        owner_name: String,
        actor: &str,
        wanted: TokenRequest,
        latest: Option<Timestamp>,
        facts: &RequestFacts,
    ) -> Result<NewToken> {
        TokenScope::check(&wanted.repositories, &wanted.actions)?;
        if wanted.name.len() > LONGEST_NAME || wanted.name.chars().any(char::is_control) {
            return Err(Error::bad_request(format!("the name of a token is at most {LONGEST_NAME} bytes, without control characters")));
        }
        let now = self.now();
        let seconds = match wanted.expires_in {
            Some(0) => return Err(Error::bad_request("\"expires_in\" is 0: a token lives for at least a second; leave it out for the default")),
            Some(seconds) => seconds,
            None => self.settings.token_default_seconds,
        };
        // 0 in the settings: until it is revoked, and no limit.
        let seconds = [seconds, self.settings.token_max_seconds].into_iter().filter(|seconds| *seconds > 0).min();
        let own = seconds.map(|seconds| now.plus(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000)));
        let expires = own.into_iter().chain(latest).min();

        if self.live_tokens(owner).await?.len() >= MOST_TOKENS {
            return Err(Error::conflict(format!("{owner_name} has {MOST_TOKENS} tokens already: revoke those that are not used")));
        }
        let text = TokenText::random()?;
        let row = TokenRow {
            id: text.id.clone(),
            principal: owner,
            name: wanted.name,
            secret_hash: text.secret_hash(),
            repositories: wanted.repositories,
            actions: wanted.actions,
            created: now,
            expires,
            revoked: None,
            workload: None,
        };
        self.catalog.create_token(row.clone()).await?;
        let detail = format!("for {owner_name}");
        self.audit.record_change(audit_row(self, actor.to_owned(), "create-token", format!("token:{}", row.id), "changed", detail, facts)).await;
        Ok(NewToken { info: info_of(row), secret: text.expose() })
    }

    /// Live tokens of a principal, newest first.
    pub(super) async fn live_tokens(&self, owner: i64) -> Result<Vec<TokenInfo>> {
        let now = self.now();
        let mut tokens: Vec<_> = self.catalog.tokens(owner).await?.into_iter().filter(|row| token_is_live(row, now)).collect();
        tokens.sort_by(|one, other| other.created.cmp(&one.created).then_with(|| one.id.cmp(&other.id)));
        Ok(tokens.into_iter().map(info_of).collect())
    }

    /// The caller's live tokens, newest first.
    ///
    /// # Errors
    /// 401 for nobody; 403 when the token in use may not list tokens.
    pub async fn own_tokens(&self, caller: &Caller) -> Result<Vec<TokenInfo>> {
        let owner = known(caller)?;
        may_manage_tokens(caller)?;
        self.live_tokens(owner).await
    }

    /// Revokes one of the caller's tokens, named by its id or by the token itself; `false` when there is none. It ends at once.
    ///
    /// # Errors
    /// 401 for nobody; 403 when the token in use may not revoke others.
    pub async fn revoke_own_token(&self, caller: &Caller, id_or_token: &str, facts: &RequestFacts) -> Result<bool> {
        let owner = known(caller)?;
        let text = TokenText::parse(id_or_token);
        let id = text.as_ref().map_or(id_or_token, |text| &text.id);
        if caller.token_id.as_deref() != Some(id) || caller.asked().is_some() {
            may_manage_tokens(caller)?;
        }
        let now = self.now();
        let found = self.catalog.token(id).await?;
        let found = found.filter(|row| row.principal == owner && token_is_live(row, now) && text.as_ref().is_none_or(|text| text.matches(&row.secret_hash)));
        let Some(row) = found else { return Ok(false) };
        self.revoke(&row.id, &caller.name(), facts).await?;
        Ok(true)
    }

    pub(super) async fn revoke(&self, id: &str, actor: &str, facts: &RequestFacts) -> Result<()> {
        self.catalog.revoke_token(id, self.now()).await?;
        self.changed(actor.to_owned(), "revoke-token", format!("token:{id}"), String::new(), facts).await
    }

    /// What follows every change: it counts at once, and is audited.
    pub(super) async fn changed(&self, actor: String, action: &str, resource: String, detail: String, facts: &RequestFacts) -> Result<()> {
        self.audit.record_change(audit_row(self, actor, action, resource, "changed", detail, facts)).await;
        self.refresh().await
    }
}

#[async_trait]
impl Accounts for CallerAccounts {
    async fn sign_in(&self, name: &str, password: &str, token: TokenRequest) -> Result<NewToken> {
        let credentials = Credentials::Basic { user: name.to_owned(), password: password.to_owned().into() };
        let caller = self.access.authenticate(Some(credentials), &self.facts).await?;
        self.access.create_own_token(&caller, token, &self.facts).await
    }

    async fn start_web_login(&self) -> Result<WebLogin> {
        web_login::start(&self.access.catalog, self.facts.remote, self.access.now()).await
    }

    async fn poll_web_login(&self, poll: &str) -> Result<WebLoginState> {
        match web_login::poll(&self.access.catalog, poll, self.access.now()).await? {
            WebLoginStanding::Waiting => Ok(WebLoginState::Waiting),
            WebLoginStanding::Gone => Ok(WebLoginState::Gone),
            WebLoginStanding::Done { principal, token } => {
                // Whoever was disabled, or whose token was revoked, since then did not sign in.
                let Some(caller) = self.access.caller(principal, token.as_deref()).await? else { return Ok(WebLoginState::Gone) };
                let wanted = TokenRequest { name: String::from("signed in with a browser"), ..TokenRequest::default() };
                Ok(WebLoginState::Done(self.access.create_own_token(&caller, wanted, &self.facts).await?))
            }
        }
    }

    async fn tokens(&self) -> Result<Vec<TokenInfo>> {
        self.access.own_tokens(&self.caller).await
    }

    async fn create_token(&self, password: Option<&str>, token: TokenRequest) -> Result<NewToken> {
        known(&self.caller)?;
        if let Some(password) = password {
            self.access.confirm_password(&self.caller, password.to_owned().into(), &self.facts).await?;
        }
        self.access.create_own_token(&self.caller, token, &self.facts).await
    }

    async fn revoke_token(&self, id_or_token: &str) -> Result<bool> {
        self.access.revoke_own_token(&self.caller, id_or_token, &self.facts).await
    }
}

fn known(caller: &Caller) -> Result<i64> {
    caller.id.ok_or_else(|| Error::unauthorized("sign in first: tokens belong to somebody"))
}

fn may_manage_tokens(caller: &Caller) -> Result<()> {
    if caller.manages_tokens() {
        return Ok(());
    }
    Err(Error::new(StatusCode::FORBIDDEN, "the token in use may not make, list or revoke tokens: it does not allow \"manage\"; use the password"))
}

fn info_of(row: TokenRow) -> TokenInfo {
    TokenInfo { id: row.id, name: row.name, repositories: row.repositories, actions: row.actions, created: row.created, expires: row.expires }
}
