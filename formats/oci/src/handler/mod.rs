//! The handlers of manifests. What else container clients ask for is answered alike in every format (`entrepot_oci_core::serve`).

pub(crate) mod manifest;
mod publish;
