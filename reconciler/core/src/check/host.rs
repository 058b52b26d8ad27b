//! A resolved host, as its checks see it.

use plumb_api::resource::PackageState;
use plumb_api::{Address, Kind, Spec};
use plumb_document::Span;

use super::debian;
use crate::manifest::{Host, HostFacts, Manifests};
use crate::resolve::Placed;

/// A resolved host with its fleet.
pub(crate) struct HostView<'a> {
    pub(crate) manifests: &'a Manifests,
    pub(crate) host: &'a Host,
    pub(crate) facts: &'a HostFacts,
    /// The host's resources, sorted by address.
    pub(crate) placed: &'a [Placed<'a>],
}

impl<'a> HostView<'a> {
    /// Returns the resources of one type.
    pub(super) fn of(&self, kind: Kind) -> &'a [Placed<'a>] {
        let start = self.placed.partition_point(|one| one.address.kind() < kind);
        let end = self
            .placed
            .partition_point(|one| one.address.kind() <= kind);
        &self.placed[start..end]
    }

    /// Returns the resource at an address.
    pub(super) fn find(&self, kind: Kind, name: &str) -> Option<&'a Placed<'a>> {
        let address = Address::new(kind, name).ok()?;
        let at = self
            .placed
            .binary_search_by(|one| one.address.cmp(&address));
        at.ok().map(|at| &self.placed[at])
    }

    /// True if the host has this resource and doesn't want it to be absent.
    pub(super) fn has(&self, kind: Kind, name: &str) -> bool {
        self.find(kind, name).is_some_and(Placed::is_wanted)
    }

    /// Returns the names of the packages that the host is to have.
    pub(super) fn packages(&self) -> impl Iterator<Item = &'a str> {
        self.of(Kind::Package).iter().filter_map(|one| {
            let Spec::Package(package) = one.spec() else {
                return None;
            };
            matches!(package.state, PackageState::Present | PackageState::Latest)
                .then(|| one.address.name())
        })
    }

    /// True if a package of the host may bring the user, the group or the unit of this name.
    pub(super) fn may_be_packaged(&self, name: &str) -> bool {
        self.packages()
            .any(|package| debian::may_bring(package, name))
    }

    /// True if one of these resources may bring what no manifest mentions: a package, a folder with programs, or
    /// a command.
    pub(super) fn may_bring(addresses: &[Address]) -> bool {
        addresses.iter().any(|address| {
            matches!(
                address.kind(),
                Kind::Package | Kind::Archive | Kind::Git | Kind::Command | Kind::Compose
            )
        })
    }

    /// True if the host has a unit file of this name: as a resource, as a file, or made of a quadlet.
    pub(super) fn has_unit(&self, unit: &str) -> bool {
        const FOLDERS: [&str; 5] = [
            "/etc/systemd/system",
            "/run/systemd/system",
            "/usr/local/lib/systemd/system",
            "/usr/lib/systemd/system",
            "/lib/systemd/system",
        ];
        const QUADLETS: [&str; 6] = ["container", "pod", "kube", "volume", "network", "image"];
        let template = unit.rsplit_once('.').and_then(|(stem, ending)| {
            let (base, _) = stem.split_once('@')?;
            Some(format!("{base}@.{ending}"))
        });
        let is_file = |name: &str| {
            self.has(Kind::Unit, name)
                || FOLDERS.iter().any(|folder| {
                    let path = format!("{folder}/{name}");
                    self.has(Kind::File, &path) || self.has(Kind::Link, &path)
                })
        };
        let stem = unit.strip_suffix(".service");
        is_file(unit)
            || template.as_deref().is_some_and(is_file)
            || stem.is_some_and(|stem| {
                self.has(Kind::File, &format!("/etc/init.d/{stem}"))
                    || QUADLETS.iter().any(|ending| {
                        let stem = match *ending {
                            "container" | "kube" => stem.to_owned(),
                            ending => match stem.strip_suffix(&format!("-{ending}")) {
                                Some(stem) => stem.to_owned(),
                                None => return false,
                            },
                        };
                        self.has(
                            Kind::File,
                            &format!("/etc/containers/systemd/{stem}.{ending}"),
                        )
                    })
            })
    }
}

impl Placed<'_> {
    /// Returns the resource's spec.
    pub(super) fn spec(&self) -> &Spec {
        self.built.resource.spec()
    }

    /// True unless the resource is to be absent.
    pub(super) fn is_wanted(&self) -> bool {
        !self.spec().wants_absent()
    }

    /// Returns the position of a field's value, or of the resource if the manifests don't set the field.
    pub(super) fn place_of(&self, field: &str) -> &Span {
        let mut fields = self.built.places.iter();
        fields
            .find(|(name, _)| **name == *field)
            .map_or(self.span, |(_, node)| &node.span)
    }

    /// Returns the text that the resource writes, if it is UTF-8.
    pub(super) fn text(&self) -> Option<&str> {
        let (_, bytes) = self.built.contents.first()?;
        std::str::from_utf8(bytes).ok()
    }
}
