//! THE list of formats: the only place that names them all.

use std::sync::Arc;

use entrepot_kit::Format;

/// Every format that this server speaks.
#[must_use]
pub fn all() -> Vec<Arc<dyn Format>> {
    vec![
        Arc::new(entrepot_format_npm::Npm),
        Arc::new(entrepot_format_pypi::Pypi),
        Arc::new(entrepot_format_maven::Maven),
        Arc::new(entrepot_format_helm::Helm::default()),
        Arc::new(entrepot_format_alpine::Alpine),
        Arc::new(entrepot_format_rpm::Rpm),
        Arc::new(entrepot_format_generic::Generic),
        Arc::new(entrepot_format_oci::Oci),
    ]
}
