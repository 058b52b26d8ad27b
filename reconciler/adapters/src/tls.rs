//! The process-wide TLS provider.

/// Installs ring as the process's TLS provider, unless one is installed already. The binary calls it
/// first of all; the HTTP clients here call it too, because a client without a provider panics.
pub fn install_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Losing the race against another thread is harmless: that thread installs the same provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}
