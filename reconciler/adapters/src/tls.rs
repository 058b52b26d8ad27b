//! The one TLS provider of the process.

/// Makes ring the process' TLS provider, unless one is set already. The binary calls it first of
/// all; clients made here call it too, because an HTTP client without a provider would panic.
pub fn install_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Losing a race against another thread that installs the same provider is no failure.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}
