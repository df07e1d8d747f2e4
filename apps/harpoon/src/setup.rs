//! The data directory: its lock, and the keys that are made on the first start and kept.

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

/// A data directory that no other process uses as long as this lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory when it is not there, and locks it. The lock goes with the process, however it ends.
    ///
    /// # Errors
    /// It can't be made or written, or another process uses it.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let shown = path.display();
        builder.create(path).with_context(|| format!("the data directory `{shown}` can't be made"))?;
        let path = path.canonicalize().with_context(|| format!("the data directory `{shown}` can't be read"))?;
        let lock = private(OpenOptions::new().create(true).truncate(false).write(true))
            .open(path.join("lock"))
            .with_context(|| format!("the data directory `{shown}` can't be written"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                bail!("another harpoon is using the data directory `{shown}`; stop it, or choose another directory with HARPOON_DATA_DIR")
            }
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("the data directory `{shown}` can't be locked")),
        }
    }

    /// The directory, as an absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg_attr(not(unix), allow(unused_mut, reason = "only Unix has file modes"))]
fn private(mut options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    {
        options = std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    }
    options
}

/// The keys of a local deployment.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// With it events are sent.
    pub write_key: String,
    /// With it the API is used.
    pub api_token: String,
    /// Under it the secrets of destinations are sealed.
    pub sealing: [u8; 32],
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(…)")
    }
}

#[derive(Serialize, Deserialize)]
struct Kept {
    write_key: String,
    api_token: String,
    sealing_key: String,
}

/// The keys of this data directory, which are made on the first call, with the given ones in place of the kept ones.
///
/// # Errors
/// The file can't be read, written or understood, or a given key can't be used.
pub fn keys(data_dir: &Path, write_key: Option<String>, api_token: Option<String>) -> anyhow::Result<Keys> {
    if let Some(key) = &write_key {
        usable("HARPOON_WRITE_KEY", key)?;
    }
    if let Some(token) = &api_token {
        usable("HARPOON_API_TOKEN", token)?;
    }
    let kept = match kept(data_dir)? {
        Some(kept) => kept,
        None => keep(data_dir)?,
    };
    let mut sealing = [0_u8; 32];
    if hex::decode_to_slice(&kept.sealing_key, &mut sealing).is_err() {
        bail!("`sealing_key` in `{}` is not 64 hexadecimal digits; put the file back as it was", file(data_dir).display());
    }
    Ok(Keys { write_key: write_key.unwrap_or(kept.write_key), api_token: api_token.unwrap_or(kept.api_token), sealing })
}

/// The write key and the API token that this data directory keeps, if it was used before.
///
/// # Errors
/// The file can't be read or understood.
pub fn kept_keys(data_dir: &Path) -> anyhow::Result<Option<(String, String)>> {
    Ok(kept(data_dir)?.map(|kept| (kept.write_key, kept.api_token)))
}

/// Notes where the store of the running server is found, for the programs of its owner: nobody else can read the file.
///
/// # Errors
/// The file can't be written.
pub fn announce_store(data_dir: &Path, endpoint: &str) -> anyhow::Result<()> {
    let (file, new) = (store_file(data_dir), data_dir.join("store-endpoint.new"));
    let write = || -> std::io::Result<()> {
        let mut out = private(OpenOptions::new().create(true).truncate(true).write(true)).open(&new)?;
        out.write_all(endpoint.as_bytes())?;
        std::fs::rename(&new, &file)
    };
    write().with_context(|| format!("`{}` can't be written", file.display()))
}

/// Takes the note back: the store is about to be closed.
pub fn retract_store(data_dir: &Path) {
    // Without the lock nobody believes a note that stayed.
    let _ = std::fs::remove_file(store_file(data_dir));
}

/// Where the store of the server that holds this data directory is found, if it says so.
///
/// # Errors
/// The file can't be read.
pub fn store_endpoint(data_dir: &Path) -> anyhow::Result<Option<String>> {
    let file = store_file(data_dir);
    match std::fs::read_to_string(&file) {
        Ok(endpoint) => Ok(Some(endpoint)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("`{}` can't be read", file.display())),
    }
}

fn store_file(data_dir: &Path) -> PathBuf {
    data_dir.join("store-endpoint")
}

fn file(data_dir: &Path) -> PathBuf {
    data_dir.join("keys.json")
}

fn kept(data_dir: &Path) -> anyhow::Result<Option<Kept>> {
    let file = file(data_dir);
    match std::fs::read(&file) {
        Ok(bytes) => {
            let kept = serde_json::from_slice(&bytes);
            kept.map(Some).with_context(|| format!("the key file `{}` can't be understood; put it back as it was", file.display()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("the key file `{}` can't be read", file.display())),
    }
}

/// Makes keys and writes them where only the owner can read them; the file is there as a whole or not at all.
fn keep(data_dir: &Path) -> anyhow::Result<Kept> {
    let kept =
        Kept { write_key: format!("wk_{}", random::<16>()?), api_token: format!("at_{}", random::<24>()?), sealing_key: random::<32>()? };
    let (file, new) = (file(data_dir), data_dir.join("keys.json.new"));
    let write = || -> std::io::Result<()> {
        let mut out = private(OpenOptions::new().create(true).truncate(true).write(true)).open(&new)?;
        out.write_all(&serde_json::to_vec_pretty(&kept)?)?;
        out.sync_all()?;
        std::fs::rename(&new, &file)?;
        File::open(data_dir)?.sync_all()
    };
    write().with_context(|| format!("the key file `{}` can't be written", file.display()))?;
    Ok(kept)
}

/// Random bytes of the operating system, as hexadecimal digits.
pub(crate) fn random<const BYTES: usize>() -> anyhow::Result<String> {
    let mut bytes = [0_u8; BYTES];
    getrandom::fill(&mut bytes).map_err(|e| anyhow::anyhow!("the operating system gave no random bytes for a key: {e}"))?;
    Ok(hex::encode(bytes))
}

/// A key travels as a user name of Basic authentication or as a bearer token.
fn usable(name: &str, key: &str) -> anyhow::Result<()> {
    let fits = |c: char| c.is_ascii_graphic() && c != ':';
    if key.is_empty() || key.len() > 512 || !key.chars().all(fits) {
        bail!("{name} must be 1 to 512 visible ASCII characters without spaces and colons");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let first = keys(dir.path(), None, None).unwrap();
        assert_eq!(keys(dir.path(), None, None).unwrap(), first);
        assert_eq!(kept_keys(dir.path()).unwrap(), Some((first.write_key, first.api_token)));
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_can_read_the_keys() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        keys(dir.path(), None, None).unwrap();
        let mode = std::fs::metadata(dir.path().join("keys.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_can_read_where_the_store_is() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(store_endpoint(dir.path()).unwrap(), None);
        announce_store(dir.path(), "http://127.0.0.1:1").unwrap();
        announce_store(dir.path(), "http://127.0.0.1:2").unwrap();
        assert_eq!(store_endpoint(dir.path()).unwrap().as_deref(), Some("http://127.0.0.1:2"));
        let mode = std::fs::metadata(dir.path().join("store-endpoint")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        retract_store(dir.path());
        assert_eq!(store_endpoint(dir.path()).unwrap(), None);
    }

    #[test]
    fn given_keys_win_and_are_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let given = keys(dir.path(), Some("fixed".into()), Some("token".into())).unwrap();
        assert_eq!((given.write_key.as_str(), given.api_token.as_str()), ("fixed", "token"));
        let kept = keys(dir.path(), None, None).unwrap();
        assert_ne!(kept.write_key, "fixed");
        assert_eq!(kept.sealing, given.sealing);
    }

    #[test]
    fn a_key_that_no_client_could_send_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let error = keys(dir.path(), Some("a:b".into()), None).unwrap_err();
        assert_eq!(error.to_string(), "HARPOON_WRITE_KEY must be 1 to 512 visible ASCII characters without spaces and colons");
        assert!(keys(dir.path(), None, Some(String::new())).is_err());
    }

    #[test]
    fn two_processes_do_not_share_a_data_directory() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("data");
        let held = DataDir::open(&place).unwrap();
        let error = DataDir::open(&place).unwrap_err().to_string();
        assert!(error.starts_with("another harpoon is using the data directory"), "{error}");
        drop(held);
        DataDir::open(&place).unwrap();
    }
}
