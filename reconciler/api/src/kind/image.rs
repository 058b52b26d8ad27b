//! `Image`: a disk image of a host.

use serde::{Deserialize, Serialize};

use crate::name::HostName;
use crate::size::Size;

/// The spec of an Image: a disk image of a host. This version reads and checks images; it doesn't build them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageSpec {
    /// The host whose desired state the image contains.
    pub host: HostName,
    /// The format of the image's file.
    pub format: ImageFormat,
    /// The size of the disk: between 256MiB and 16TiB.
    pub size: Size,
}

/// The format of an image's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum ImageFormat {
    /// An SD card, with the partition for a single-board computer's firmware.
    Sd,
    /// The bytes of a disk.
    Raw,
    /// A disk of QEMU.
    Qcow2,
    /// A disk of `VirtualBox`.
    Vdi,
    /// A disk of Hyper-V.
    Vhdx,
    /// An image that starts from a DVD or a USB stick and runs in memory.
    Iso,
}

/// The smallest and the largest size of an image.
const SIZES: std::ops::RangeInclusive<u64> = 256 << 20..=16 << 40;

impl ImageSpec {
    /// True if a disk of this size can hold a system.
    pub fn has_usable_size(&self) -> bool {
        SIZES.contains(&self.size.bytes())
    }
}
