//! The environment, read once at start.

use std::ffi::OsString;
use std::path::PathBuf;

use secrecy::SecretString;

use super::services::Services;

/// What the environment says.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `ENTREPOT_CONFIG`
    pub config: Option<PathBuf>,
    /// `ENTREPOT_DATA`
    pub data: Option<PathBuf>,
    /// `ENTREPOT_LISTEN`
    pub listen: Option<String>,
    /// `ENTREPOT_DATABASE_URL`
    pub database_url: Option<String>,
    /// `ENTREPOT_MASTER_KEY`
    pub master_key: Option<SecretString>,
    /// `ENTREPOT_S3_ACCESS_KEY`
    pub s3_access_key: Option<String>,
    /// `ENTREPOT_S3_SECRET_KEY`
    pub s3_secret_key: Option<SecretString>,
    /// `ENTREPOT_REMOTES`
    pub remotes: Option<PathBuf>,
    /// `ENTREPOT_ADMIN_PASSWORD`
    pub admin_password: Option<SecretString>,
    /// `DBHOST` and its family, `MINIO_ENDPOINT` and its family
    pub services: Services,
    /// `REDIS_URL`
    pub redis_url: Option<SecretString>,
}

impl Environment {
    /// Reads the process's environment. A variable that is set to nothing counts as not set.
    #[must_use]
    pub fn read() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
        Self::from_lookup(|name| std::env::var_os(name))
    }

    /// What of it concerns a storage in a data directory, when it describes another one too.
    #[must_use]
    pub fn of_embedded(&self) -> Self {
        Self { database_url: None, s3_access_key: None, s3_secret_key: None, services: Services::default(), redis_url: None, ..self.clone() }
    }

    /// What of it concerns a storage that a configuration file of its own describes: what is secret.
    #[must_use]
    pub fn of_shared(&self) -> Self {
        Self { config: None, data: None, listen: None, remotes: None, ..self.clone() }
    }

    pub(super) fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let text = |name: &str| set(name).map(|value| value.to_string_lossy().into_owned());
        Self {
            config: set("ENTREPOT_CONFIG").map(PathBuf::from),
            data: set("ENTREPOT_DATA").map(PathBuf::from),
            listen: text("ENTREPOT_LISTEN"),
            database_url: text("ENTREPOT_DATABASE_URL"),
            master_key: text("ENTREPOT_MASTER_KEY").map(SecretString::from),
            s3_access_key: text("ENTREPOT_S3_ACCESS_KEY"),
            s3_secret_key: text("ENTREPOT_S3_SECRET_KEY").map(SecretString::from),
            remotes: set("ENTREPOT_REMOTES").map(PathBuf::from),
            admin_password: text("ENTREPOT_ADMIN_PASSWORD").map(SecretString::from),
            services: Services::from_lookup(&lookup),
            redis_url: text("REDIS_URL").map(SecretString::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Environment;

    #[test]
    fn an_empty_variable_is_not_set() {
        let environment = Environment::from_lookup(|name| match name {
            "ENTREPOT_LISTEN" => Some("127.0.0.1:1".into()),
            _ => Some("".into()),
        });
        assert_eq!(environment.listen.as_deref(), Some("127.0.0.1:1"));
        assert!(environment.config.is_none() && environment.admin_password.is_none());
    }
}
