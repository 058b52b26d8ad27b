//! POSIX access control lists, as the kernel stores them in an extended attribute.

/// The extended attribute that holds a file's access ACL.
pub(crate) const ACCESS: &str = "system.posix_acl_access";

const VERSION: u32 = 2;
const GROUP_OBJ: u16 = 0x04;
const MASK: u16 = 0x10;
const USER_OBJ: u16 = 0x01;
const OTHER: u16 = 0x20;

/// An entry of an ACL: the user or group that it applies to, and the permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct AclEntry {
    tag: u16,
    permissions: u16,
    id: u32,
}

/// An access ACL that has a mask.
///
/// If a file has such an ACL, `stat` shows the mask in place of the group's bits, and `chmod` changes the
/// mask: `chmod g-w` takes write permission from every named user. The permissions of the owning group are in
/// their own entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acl(Vec<AclEntry>);

impl Acl {
    /// Parses the attribute. Returns `None` if it isn't a valid ACL, or has no mask or no entry for the
    /// owning group.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (version, entries) = bytes.split_first_chunk::<4>()?;
        if u32::from_le_bytes(*version) != VERSION || entries.len() % 8 != 0 {
            return None;
        }
        let entry = |chunk: &[u8]| {
            let (tag, rest) = chunk.split_first_chunk::<2>()?;
            let (permissions, rest) = rest.split_first_chunk::<2>()?;
            let (id, _) = rest.split_first_chunk::<4>()?;
            Some(AclEntry {
                tag: u16::from_le_bytes(*tag),
                permissions: u16::from_le_bytes(*permissions),
                id: u32::from_le_bytes(*id),
            })
        };
        let all: Option<Vec<AclEntry>> = entries.chunks(8).map(entry).collect();
        let acl = Self(all?);
        (acl.of(MASK).is_some() && acl.of(GROUP_OBJ).is_some()).then_some(acl)
    }

    /// Returns the ACL as the value of the attribute.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        for entry in &self.0 {
            bytes.extend(entry.tag.to_le_bytes());
            bytes.extend(entry.permissions.to_le_bytes());
            bytes.extend(entry.id.to_le_bytes());
        }
        bytes
    }

    fn of(&self, tag: u16) -> Option<u16> {
        let entry = self.0.iter().find(|entry| entry.tag == tag)?;
        Some(entry.permissions)
    }

    fn set(&mut self, tag: u16, permissions: u16) {
        for entry in &mut self.0 {
            if entry.tag == tag {
                entry.permissions = permissions;
            }
        }
    }

    /// Returns the mode of a file with this ACL. Its group bits are the owning group's effective permissions,
    /// instead of the mask that `stat` shows.
    pub(crate) fn mode(&self, stat: u32) -> u32 {
        let group = self.of(GROUP_OBJ).unwrap_or(0) & self.of(MASK).unwrap_or(0o7);
        (stat & !0o070) | (u32::from(group & 0o7) << 3)
    }

    /// Returns the ACL in which the owner, the owning group and others have the permissions of `mode`. Named
    /// users and groups keep their entries; the mask is only extended by the permissions that the owning
    /// group needs.
    pub(crate) fn with_mode(&self, mode: u32) -> Self {
        let bits = |shift: u32| u16::try_from(mode >> shift & 0o7).unwrap_or(0);
        let mut acl = self.clone();
        acl.set(USER_OBJ, bits(6));
        acl.set(OTHER, bits(0));
        let mask = self.of(MASK).unwrap_or(0);
        if self.of(GROUP_OBJ).unwrap_or(0) & mask != bits(3) {
            acl.set(GROUP_OBJ, bits(3));
            acl.set(MASK, mask | bits(3));
        }
        acl
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `user::rw-, user:5:rw-, group::GROUP, mask::MASK, other::---`
    fn acl(group: u16, mask: u16) -> Acl {
        let entry = |tag, permissions, id| AclEntry {
            tag,
            permissions,
            id,
        };
        Acl(vec![
            entry(USER_OBJ, 6, u32::MAX),
            entry(0x02, 6, 5),
            entry(GROUP_OBJ, group, u32::MAX),
            entry(MASK, mask, u32::MAX),
            entry(OTHER, 0, u32::MAX),
        ])
    }

    #[test]
    fn mask_is_not_taken_for_the_groups_bits() {
        let wide = acl(4, 6);
        assert_eq!(wide.mode(0o100_660 & 0o7777), 0o640);
        assert_eq!(
            wide.with_mode(0o640),
            wide,
            "user 5 keeps the right to write"
        );
        let narrow = acl(6, 4);
        assert_eq!(narrow.mode(0o640), 0o640);
        assert_eq!(narrow.with_mode(0o640), narrow);
        assert_eq!(narrow.with_mode(0o660), acl(6, 6), "the group needs it");
        assert_eq!(wide.with_mode(0o600), acl(0, 6));
    }

    #[test]
    fn bytes_of_an_acl_survive() {
        let wide = acl(4, 6);
        assert_eq!(Acl::parse(&wide.to_bytes()), Some(wide));
        let minimal = Acl(acl(4, 6)
            .0
            .into_iter()
            .filter(|entry| entry.tag != MASK)
            .collect());
        assert_eq!(Acl::parse(&minimal.to_bytes()), None);
        assert_eq!(Acl::parse(b"\x02\0\0\0\x01"), None);
    }
}
