//! What of the container clients' interface belongs to no repository: the greeting `/v2/`, tokens, the list of all images; and what a
//! refusal below `/v2/` says besides.

mod catalog;
mod challenge;
mod token;

use actix_web::{HttpRequest, HttpResponse, web};
use entrepot_kit::{Error, Result};
use http::Method;

use crate::access::RegistryScope;
use crate::http::client::Client;
use crate::http::observe::tell;
use crate::http::place::{Asked, below_v2};
use crate::http::repository::Known;
use crate::http::{Server, answer};
use crate::metrics::About;

pub(crate) use challenge::{Challenge, Need, needs};

/// An address of the server's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Own {
    /// `/v2/`
    Greeting,
    /// `/v2/token`
    Token,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/_oci/ext/discover`
    Extensions,
}

impl Own {
    /// The address that a path is. No repository and no image has such a name, or stands that near to the root.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let rest = below_v2(path)?;
        match rest.strip_suffix('/').unwrap_or(rest) {
            "" => Some(Self::Greeting),
            "/token" => Some(Self::Token),
            "/_catalog" => Some(Self::Catalog),
            "/_oci/ext/discover" => Some(Self::Extensions),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Greeting => "registry",
            Self::Token => "registry-token",
            Self::Catalog => "registry-catalog",
            Self::Extensions => "registry-extensions",
        }
    }

    /// Answers.
    pub(crate) async fn serve(
        self,
        request: &HttpRequest,
        payload: web::Payload,
        server: &Server,
        client: Client,
        asked: &Asked<'_>,
        known: &mut Known,
    ) -> Result<HttpResponse> {
        tell(request, |told| {
            told.route = self.name();
            told.about = About { format: "registry", action: if self == Self::Token { "sign-in" } else { "read" } };
        });
        let method = Method::from_bytes(request.method().as_str().as_bytes()).map_err(|_| Error::bad_request("the method is not one of HTTP"))?;
        let reads = matches!(method, Method::GET | Method::HEAD);
        match self {
            Self::Token if reads || method == Method::POST => token::serve(request, payload, server, client, asked, known).await,
            _ if !reads => {
                let methods: &[Method] = if self == Self::Token { &[Method::GET, Method::POST] } else { &[Method::GET] };
                Ok(answer::method_not_allowed(methods, known.format.as_deref(), true))
            }
            Self::Greeting => {
                let (_, context) = client.sign_in(request, server, None).await?;
                tell(request, |told| told.principal = context.caller.name());
                // Public images or not: a client learns here where it gets tokens, and a wrong password cannot pass for a right one.
                if context.caller.is_anonymous() && context.caller.asked().is_none() {
                    return Err(Error::unauthorized("sign in, or ask for a token without a name: its address is in WWW-Authenticate"));
                }
                Ok(document("{}"))
            }
            Self::Extensions => Ok(document(r#"{"extensions":[]}"#)),
            Self::Catalog => {
                known.challenge_with(vec![String::from("registry:catalog:*")]);
                catalog::serve(request, server, client, asked).await
            }
            Self::Token => Err(Error::internal("a method that was looked at")),
        }
    }
}

/// A small answer in JSON.
fn document(body: impl Into<String>) -> HttpResponse {
    HttpResponse::Ok().insert_header(("Cache-Control", "no-store")).content_type("application/json").body(body.into())
}

/// Whether the scopes of a token are good for what a request needs.
pub(crate) fn covers(asked: &[RegistryScope], needs: &[Need]) -> bool {
    needs.iter().all(|need| asked.iter().any(|scope| scope.is_about(&need.image) && scope.allows(need.action)))
}

#[cfg(test)]
mod tests {
    use super::Own;

    #[test]
    fn own_addresses_are_no_images() {
        for (path, own) in [("/v2", Own::Greeting), ("/v2/", Own::Greeting), ("/v2/token", Own::Token), ("/v2/_catalog", Own::Catalog)] {
            assert_eq!(Own::of(path), Some(own));
        }
        assert_eq!(Own::of("/v2/_oci/ext/discover"), Some(Own::Extensions));
        for other in ["/v2x", "/v1/", "/v2//", "/v2/token/app/tags/list", "/v2/app/_oci/ext/discover", "/v2/%74oken"] {
            assert_eq!(Own::of(other), None, "{other}");
        }
    }
}
