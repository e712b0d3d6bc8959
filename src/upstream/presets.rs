//! Well-known registries, by the name that their images are called by.

/// What is known of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Preset {
    /// What images of it begin with, and `ns` of a mirror's request says.
    pub(super) namespace: &'static str,
    /// The format that it speaks.
    pub(super) format: &'static str,
    /// Its root.
    pub(super) url: &'static str,
    /// Where it hands out tokens, besides its own host.
    pub(super) token_hosts: &'static [&'static str],
}

const PRESETS: [Preset; 6] = [
    Preset { namespace: "docker.io", format: "oci", url: "https://registry-1.docker.io/", token_hosts: &["auth.docker.io"] },
    Preset { namespace: "ghcr.io", format: "oci", url: "https://ghcr.io/", token_hosts: &[] },
    Preset { namespace: "quay.io", format: "oci", url: "https://quay.io/", token_hosts: &[] },
    Preset { namespace: "registry.k8s.io", format: "oci", url: "https://registry.k8s.io/", token_hosts: &[] },
    Preset { namespace: "gcr.io", format: "oci", url: "https://gcr.io/", token_hosts: &[] },
    Preset { namespace: "public.ecr.aws", format: "oci", url: "https://public.ecr.aws/", token_hosts: &[] },
];

/// The preset of that name.
pub(super) fn find(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.namespace == name)
}

/// All names, for messages.
pub(super) fn names() -> String {
    PRESETS.map(|preset| preset.namespace).join(", ")
}

/// The root of a preset, for those who compare servers.
#[must_use]
pub fn preset_url(name: &str) -> Option<&'static str> {
    find(name).map(|preset| preset.url)
}

/// The registry that has its root at a URL.
#[must_use]
pub fn preset_of(url: &str) -> Option<&'static str> {
    let host = |url: &str| url::Url::parse(url).ok()?.host_str().map(str::to_owned);
    let wanted = host(url)?;
    PRESETS.iter().find(|preset| host(preset.url).is_some_and(|known| known == wanted)).map(|preset| preset.namespace)
}

#[cfg(test)]
mod tests {
    use super::PRESETS;

    #[test]
    fn presets_lead_to_registries_with_tls() {
        for preset in PRESETS {
            let url = url::Url::parse(preset.url).unwrap();
            assert!(url.scheme() == "https" && url.path() == "/" && preset.url.ends_with('/'), "{preset:?}");
        }
    }
}
