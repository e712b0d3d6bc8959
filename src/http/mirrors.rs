//! Ready-made files that make container runtimes ask us for what registries elsewhere have.

use std::fmt::Write as _;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use entrepot_kit::name::DEFAULT_SYSTEM;
use entrepot_kit::{Action, Address, Query, Result};

use crate::http::client::Client;
use crate::http::observe::tell;
use crate::http::{Server, refuse};
use crate::metrics::About;
use crate::registry::Context;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route("/-/mirrors/hosts.toml", web::get().to(containerd)).route("/-/mirrors/registries.yaml", web::get().to(kubernetes));
}

/// A registry elsewhere, and the proxy that stands for it.
struct Mirror {
    namespace: String,
    address: Address,
}

/// containerd: `/etc/containerd/certs.d/<registry>/hosts.toml`, or `_default` in place of the registry.
async fn containerd(request: HttpRequest, server: web::Data<Server>) -> HttpResponse {
    let client = Client::of(&request, &server);
    let origin = client.origin.clone();
    finish(async {
        let (context, mirrors) = readable(&request, &server, client).await?;
        let query = Query::parse(request.uri().query().unwrap_or_default());
        match query.get("ns") {
            None => Ok(hosts(&origin, None, &mirrors)),
            Some(namespace) => match mirrors.iter().find(|mirror| mirror.namespace == namespace) {
                Some(mirror) => Ok(hosts(&origin, Some(&mirror.namespace), &mirrors)),
                None => Err(server.engine.access.missing(&context.caller, namespace)),
            },
        }
    })
    .await
}

/// RKE2 and k3s: `/etc/rancher/rke2/registries.yaml`, `/etc/rancher/k3s/registries.yaml`.
async fn kubernetes(request: HttpRequest, server: web::Data<Server>) -> HttpResponse {
    let client = Client::of(&request, &server);
    let origin = client.origin.clone();
    finish(async {
        let (_, mirrors) = readable(&request, &server, client).await?;
        Ok(registries(&origin, &mirrors))
    })
    .await
}

async fn finish(text: impl Future<Output = Result<String>>) -> HttpResponse {
    match text.await {
        Ok(text) => HttpResponse::Ok()
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
            .content_type("text/plain; charset=utf-8")
            .body(text),
        Err(error) => refuse(&error, None),
    }
}

/// The mirrors that are asked by `?ns=`, as far as the caller may read them.
async fn readable(request: &HttpRequest, server: &Server, client: Client) -> Result<(Context, Vec<Mirror>)> {
    tell(request, |told| {
        told.route = "mirrors";
        told.about = About { format: "pages", action: Action::Read.name() };
    });
    let (_, context) = client.sign_in(request, server, None).await?;
    tell(request, |told| told.principal = context.caller.name());
    let table = server.engine.table();
    let mut mirrors: Vec<Mirror> = Vec::new();
    let mut seen = Vec::new();
    for (repo, namespace) in table.mirrors() {
        if seen.contains(&namespace) {
            continue;
        }
        seen.push(namespace);
        if server.engine.access.decide(&context.caller, Action::Read, &repo.target(None)).await?.allowed {
            mirrors.push(Mirror { namespace: namespace.to_owned(), address: repo.address().clone() });
        }
    }
    mirrors.sort_by(|one, other| one.namespace.cmp(&other.namespace));
    Ok((context, mirrors))
}

fn hosts(origin: &str, namespace: Option<&str>, mirrors: &[Mirror]) -> String {
    let folder = namespace.unwrap_or("_default");
    let mut text = format!("# For containerd: save as /etc/containerd/certs.d/{folder}/hosts.toml; [plugins.\"io.containerd.cri.v1.images\".registry] has\n");
    text.push_str("# config_path = \"/etc/containerd/certs.d\".\n");
    if namespace.is_none() {
        text.push_str("# This file is for all registries. Mirrored for you are:\n");
        for mirror in mirrors {
            let _ = writeln!(text, "#   {} by {}", mirror.namespace, mirror.address);
        }
        if mirrors.is_empty() {
            text.push_str("#   none that you may read\n");
        }
        text.push_str("# What others have is not found: give a registry that shall be asked itself a folder of its own.\n");
    }
    text.push_str("# `server` is this mirror too: otherwise what it refuses would be fetched from the registry itself.\n");
    let _ = write!(text, "server = \"{origin}\"\n\n[host.\"{origin}\"]\n  capabilities = [\"pull\", \"resolve\"]\n");
    if origin.starts_with("https://") {
        text.push_str("  # ca = \"/path/to/ca.pem\" # an authority of your own\n");
    }
    text
}

fn registries(origin: &str, mirrors: &[Mirror]) -> String {
    let mut text = String::from("# For RKE2 and k3s: save as /etc/rancher/rke2/registries.yaml or /etc/rancher/k3s/registries.yaml on each node.\n");
    text.push_str("# Start with --disable-default-registry-endpoint, or what this mirror refuses is fetched from the registry itself.\n");
    if mirrors.is_empty() {
        text.push_str("# There is no mirror that you may read.\nmirrors: {}\n");
        return text;
    }
    text.push_str("mirrors:\n");
    for Mirror { namespace, address } in mirrors {
        let name = if address.system.as_str() == DEFAULT_SYSTEM { address.repository.to_string() } else { address.to_string() };
        let _ = write!(text, "  \"{namespace}\":\n    endpoint:\n      - \"{origin}\"\n    rewrite:\n      \"^(.*)$\": \"{name}/$1\"\n");
    }
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    let _ = write!(text, "# For images that need a name:\n# configs:\n#   \"{host}\":\n#     auth:\n#       username: …\n#       password: … # a token\n");
    text
}

#[cfg(test)]
mod tests {
    use entrepot_kit::Address;

    use super::{Mirror, hosts, registries};

    fn mirrors() -> Vec<Mirror> {
        [("docker.io", "main", "docker"), ("ghcr.io", "alpha", "ghcr")]
            .map(|(namespace, system, name)| Mirror { namespace: namespace.to_owned(), address: Address::new(system, name).unwrap() })
            .into()
    }

    #[test]
    fn files_are_what_they_say() {
        let one = hosts("https://registry.example", Some("docker.io"), &mirrors());
        let read: toml::Table = one.parse().unwrap();
        assert_eq!(read["server"].as_str(), Some("https://registry.example"));
        assert_eq!(read["host"]["https://registry.example"]["capabilities"].as_array().map(Vec::len), Some(2));
        assert!(one.contains("certs.d/docker.io/"));
        let plain: toml::Table = hosts("http://127.0.0.1:8080", None, &[]).parse().unwrap();
        assert_eq!(plain["server"].as_str(), Some("http://127.0.0.1:8080"));
        let all = registries("https://registry.example", &mirrors());
        assert!(all.contains("\"^(.*)$\": \"docker/$1\"") && all.contains("\"^(.*)$\": \"alpha/ghcr/$1\""), "{all}");
        assert!(registries("https://registry.example", &[]).ends_with("mirrors: {}\n"));
    }
}
