//! Registry tokens in the life of the server: how a caller gets one, and who sends it.

use std::sync::Arc;

use entrepot_kit::{Error, Result, TokenRequest};
use http::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};

use super::Access;
use super::authenticate::{Known, Refusal, WRONG_STATEMENT, token_is_live};
use super::caller::{Caller, RequestFacts};
use super::registry::{Bounds, Narrowed, REGISTRY_TOKEN_SECONDS, Reading, RegistryScope, RegistryToken, Statement, read, sign};
use crate::registry::keys::Keys;

/// What the tokens that registry clients keep are called.
const KEPT_NAME: &str = "docker login";
/// Most of these that live at once, so that machines that sign in again and again leave room for other tokens.
const MOST_KEPT: usize = 100;

impl Access {
    /// Lets this server sign registry tokens.
    pub(crate) fn use_keys(&self, keys: Arc<Keys>) {
        // Once: the keys of a catalog are the same, whoever holds them.
        let _ = self.keys.set(keys);
    }

    /// Makes a registry token for the caller. What was asked for narrows its use; what was granted is what the client is told.
    ///
    /// # Errors
    /// 401 for a caller that came with a registry token: it gets no others.
    pub async fn registry_token(&self, caller: &Caller, service: &str, asked: Vec<RegistryScope>, granted: Vec<RegistryScope>) -> Result<RegistryToken> {
        if caller.narrowed.is_some() {
            return Err(Error::unauthorized("a registry token cannot ask for others: send the password or a token"));
        }
        let keys = self.keys.get().ok_or_else(|| Error::internal("no keys for registry tokens"))?;
        let now = self.now();
        let proof = caller.proof.as_deref().map(str::to_owned);
        let bounds = Bounds { principal: caller.id, token: caller.token_id.clone(), proof, asked };
        let statement = Statement::new(service, caller.name(), granted, bounds, now)?;
        Ok(RegistryToken { text: sign(keys, &statement, now).await?, expires_in: REGISTRY_TOKEN_SECONDS })
    }

    /// A token that a client keeps in place of the password; `None` when the caller cannot have another one.
    ///
    /// # Errors
    /// Failures of the catalog.
    pub async fn kept_token(&self, caller: &Caller, facts: &RequestFacts) -> Result<Option<String>> {
        let Some(owner) = caller.id.filter(|_| caller.manages_tokens()) else { return Ok(None) };
        if self.live_tokens(owner).await?.iter().filter(|token| token.name == KEPT_NAME).count() >= MOST_KEPT {
            return Ok(None);
        }
        let wanted = TokenRequest { name: KEPT_NAME.to_owned(), ..TokenRequest::default() };
        match self.create_own_token(caller, wanted, facts).await {
            Ok(token) => Ok(Some(token.secret)),
            // It has very many already. The client then keeps what it has.
            Err(error) if error.status() == StatusCode::CONFLICT => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn verify_statement(&self, secret: &SecretString, service: &str) -> Result<Known, Refusal> {
        let wrong = || Refusal::Wrong(WRONG_STATEMENT);
        let (epoch, now) = (self.epoch(), self.now());
        let keys = self.keys.get().ok_or_else(wrong)?;
        let statement = match read(keys, secret.expose_secret(), service, now).await? {
            Reading::Good(statement) => statement,
            Reading::Ended => return Err(Refusal::Ended),
            Reading::Wrong => return Err(wrong()),
        };
        let ends = statement.ends();
        let Bounds { principal, token, proof, asked } = statement.entrepot;
        let known = match (principal, token) {
            (None, None) => Known::anonymous(epoch),
            (None, Some(_)) => return Err(wrong()),
            (Some(id), token) => {
                let owner = self.catalog.principal_by_id(id).await?.filter(|owner| !owner.disabled).ok_or_else(wrong)?;
                match token {
                    Some(token) => {
                        let row = self.catalog.token(&token).await?.filter(|row| row.principal == id && token_is_live(row, now));
                        Known::by_token(owner, row.ok_or_else(wrong)?, epoch)?
                    }
                    None => {
                        let hash = owner.password_hash.clone().ok_or_else(wrong)?;
                        Known::by_password(owner, hash, epoch)
                    }
                }
            }
        };
        // Another password, or a number that was given to somebody else: the token does not speak of these.
        if known.caller.proof.as_deref() != proof.as_deref() {
            return Err(wrong());
        }
        Ok(known.bounded(Some(Narrowed::new(asked)), Some(ends)))
    }
}
