//! `images/NAME.yaml`: reads and checks the disk images of hosts. This version builds none.

use std::sync::Arc;

use plumb_api::HostName;
use plumb_api::kind::ImageSpec;
use plumb_document::{Diagnostic, Span, closest, decode};

use super::object::Object;
use super::{Manifests, code};

/// A decoded image.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    /// The host whose desired state the image contains.
    host: HostName,
    /// The position of the host's name.
    span: Span,
}

pub(crate) fn read(object: &Object) -> Result<Image, Vec<Diagnostic>> {
    let spec: ImageSpec = decode(&object.spec)?;
    let place = |field: &str| {
        let node = object.spec.get(field);
        node.map_or(&object.span, |node| &node.span)
    };
    if !spec.has_usable_size() {
        let message = "an image must have between 256MiB and 16TiB";
        let diagnostic =
            Diagnostic::error(plumb_document::codes::INVALID_VALUE, place("size"), message);
        return Err(vec![diagnostic.hint("write size: 4GiB")]);
    }
    Ok(Image {
        host: spec.host,
        span: place("host").clone(),
    })
}

/// Returns an error for each image of an unknown host.
pub(super) fn check(manifests: &Manifests) -> Vec<Diagnostic> {
    let images = manifests.images.values().flatten();
    images
        .filter_map(|image| unknown_host(manifests, image))
        .collect()
}

fn unknown_host(manifests: &Manifests, image: &Arc<Image>) -> Option<Diagnostic> {
    if manifests.hosts.contains_key(&image.host) {
        return None;
    }
    let diagnostic = Diagnostic::error(
        code::UNKNOWN_REFERENCE,
        &image.span,
        format!("unknown host `{}`", image.host),
    );
    let names = manifests.hosts.keys().map(HostName::as_str);
    Some(match closest(image.host.as_str(), names) {
        Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
        None => diagnostic.hint(format!(
            "add hosts/{}.yaml, or name another host",
            image.host
        )),
    })
}
