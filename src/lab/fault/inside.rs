//! Faults made inside of a host by a script: a full disk, a stopped service, a skewed clock.

use std::time::{Duration, Instant};

use crate::lab::LabError;
use crate::lab::record::{HostRecord, LabRecord};

/// Reads `$path` and `$leave`. On a file system of its own the rest is taken by a filler; elsewhere a tmpfs with a copy of the
/// folder is put over it, as large as its content and `leave` bytes.
const FILL: &str = r#"
[ -d "$path" ] || { echo "$path is not a folder" >&2; exit 1; }
if [ "$(findmnt -n -o TARGET -T "$path")" = / ]; then
  stage=$(mktemp -d /run/cutover-lab-fill.XXXXXX)
  used=$(du -sk "$path" | cut -f1)
  mount -t tmpfs -o "size=$((used + used / 4 + 1024))k,nr_inodes=0" cutover-lab-fill "$stage"
  cp -a "$path/." "$stage/"
  chown --reference="$path" "$stage"; chmod --reference="$path" "$stage"
  mount --bind "$stage" "$path"
  umount "$stage"; rmdir "$stage"
fi
free() { df -B1 --output=avail "$path" | tail -n1; }
# Down to the last bytes: what fallocate cannot take (metadata grows with the file) dd takes block by block.
rest=$(($(free) - leave))
[ "$rest" -le 0 ] || fallocate -l "$rest" "$path/.cutover-lab-filler" 2>/dev/null || true
rest=$(($(free) - leave))
[ "$rest" -le 0 ] || dd if=/dev/zero bs=4096 count=$((rest / 4096)) oflag=append conv=notrunc of="$path/.cutover-lab-filler" 2>/dev/null || true
"#;

/// Takes the filler away; content of a tmpfs goes back into the folder below it, by rename, so that a crash loses nothing.
const EMPTY: &str = r#"
rm -f "$path/.cutover-lab-filler"
if [ "$(findmnt -n -o SOURCE "$path" 2>/dev/null | cut -d'[' -f1)" = cutover-lab-fill ]; then
  below=$(mktemp -d /run/cutover-lab-below.XXXXXX)
  mount --bind / "$below"
  new="$below$path.cutover-lab-new"; old="$below$path.cutover-lab-old"
  rm -rf "$new" "$old"
  cp -a "$path" "$new"
  umount -l "$path"
  mv "$below$path" "$old"; mv "$new" "$below$path"; rm -rf "$old"
  umount "$below"; rmdir "$below"
fi
"#;

fn script(
    record: &LabRecord,
    host: &HostRecord,
    what: &str,
    given: &[(&str, &str)],
    body: &str,
) -> Result<(), LabError> {
    let mut text = String::new();
    for (name, value) in given {
        let value =
            shlex::try_quote(value).map_err(|_| LabError::Fault(format!("`{value}` cannot be given to a shell")))?;
        text.push_str(&format!("{name}={value}\n"));
    }
    text.push_str(body);
    record.engine.script(&host.container, &format!("{what} on {}", host.name), &text).map(drop)
}

pub(super) fn fill(record: &LabRecord, host: &HostRecord, path: &str, leave: u64) -> Result<(), LabError> {
    if !path.starts_with('/') || path.trim_end_matches('/').is_empty() {
        return Err(LabError::Fault(format!(
            "`{path}` cannot be filled: name a folder below the root by its full path"
        )));
    }
    script(record, host, "filling a disk", &[("path", path), ("leave", &leave.to_string())], FILL)
}

pub(super) fn empty(record: &LabRecord, host: &HostRecord, path: &str) -> Result<(), LabError> {
    script(record, host, "making room on a disk", &[("path", path)], EMPTY)
}

pub(super) fn stop(record: &LabRecord, host: &HostRecord, service: &str) -> Result<(), LabError> {
    let body = "systemctl cat -- \"$unit\" >/dev/null\nsystemctl stop -- \"$unit\"\n";
    script(record, host, "stopping a service", &[("unit", service)], body)
}

pub(super) fn start(record: &LabRecord, host: &HostRecord, service: &str) -> Result<(), LabError> {
    script(record, host, "starting a service", &[("unit", service)], "systemctl start -- \"$unit\"\n")
}

/// A drop-in under /run, which the topology does not own and a reboot forgets.
const SKEW: &str = r#"
systemctl cat -- "$unit" >/dev/null
lib=$(ls /usr/lib/*/faketime/libfaketime.so.1 /usr/lib/faketime/libfaketime.so.1 2>/dev/null | head -n1)
[ -n "$lib" ] || { echo "libfaketime is not installed on the host" >&2; exit 1; }
case $unit in *.*) ;; *) unit=$unit.service ;; esac
mkdir -p "/run/systemd/system/$unit.d"
printf '[Service]\nEnvironment=LD_PRELOAD=%s\nEnvironment="FAKETIME=%s"\n' "$lib" "$offset" > "/run/systemd/system/$unit.d/90-lab-skew.conf"
systemctl daemon-reload
systemctl restart -- "$unit"
"#;

const UNSKEW: &str = r#"
case $unit in *.*) ;; *) unit=$unit.service ;; esac
rm -f "/run/systemd/system/$unit.d/90-lab-skew.conf"
rmdir "/run/systemd/system/$unit.d" 2>/dev/null || true
systemctl daemon-reload
systemctl restart -- "$unit"
"#;

pub(super) fn skew(record: &LabRecord, host: &HostRecord, service: &str, seconds: i64) -> Result<(), LabError> {
    let offset = format!("{seconds:+}s");
    script(record, host, "skewing a clock", &[("unit", service), ("offset", &offset)], SKEW)
}

pub(super) fn unskew(record: &LabRecord, host: &HostRecord, service: &str) -> Result<(), LabError> {
    script(record, host, "setting a clock right", &[("unit", service)], UNSKEW)
}

/// Until systemd says that it has ended booting, well or degraded.
pub(super) fn wait_until_booted(record: &LabRecord, host: &HostRecord) -> Result<(), LabError> {
    const LIMIT: Duration = Duration::from_secs(90);
    let end = Instant::now() + LIMIT;
    // `is-system-running` fails while it says `starting` and when it says `degraded`.
    let body = "case $(systemctl is-system-running 2>/dev/null || true) in running|degraded) ;; *) exit 1 ;; esac\n";
    while record.engine.script(&host.container, "waiting for a host", body).is_err() {
        if Instant::now() > end {
            return Err(LabError::NoSsh { host: host.name.clone(), seconds: LIMIT.as_secs() });
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}
