//! Files of a spec, written down where an instance finds them.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use hancock_proto::app::File;

/// Writes every file to its place. Those there already with the same content are left as they are.
///
/// # Errors
/// One cannot be written, or not be given to whom it shall belong; the error names it.
pub(super) fn put(files: &[File], place: impl Fn(usize, &File) -> PathBuf) -> io::Result<()> {
    for (n, file) in files.iter().enumerate() {
        write(&place(n, file), file).map_err(|e| named(file, &e))?;
    }
    Ok(())
}

fn named(file: &File, error: &io::Error) -> io::Error {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied if file.uid.or(file.gid).is_some() => {
            "; only an agent that runs as root can give it to another user"
        }
        _ => "",
    };
    io::Error::new(error.kind(), format!("file {}: {error}{hint}", file.target))
}

fn write(path: &Path, file: &File) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        // Nobody else on the node may look: what is in it may be secret, and a container gets the file itself.
        let mut all = fs::DirBuilder::new();
        all.recursive(true).mode(0o700).create(folder)?;
    }
    if fs::read(path).is_ok_and(|there| there == file.content.as_bytes()) {
        return own(path, file);
    }
    let fresh = path.with_extension("new");
    // What an interrupted write left.
    if let Err(error) = fs::remove_file(&fresh)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut options = fs::OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o600);
    let mut out = options.open(&fresh)?;
    out.write_all(file.content.as_bytes())?;
    own(&fresh, file)?;
    fs::rename(&fresh, path)
}

fn own(path: &Path, file: &File) -> io::Result<()> {
    if file.uid.or(file.gid).is_some() {
        chown(path, file.uid, file.gid)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(file.mode.bits()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn file(content: &str, mode: &str) -> File {
        File {
            target: "/etc/web.conf".to_owned(),
            content: content.to_owned(),
            mode: mode.parse().unwrap(),
            uid: None,
            gid: None,
            template: false,
        }
    }

    #[test]
    fn a_file_is_there_whole_with_its_mode_however_often_it_is_put() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/0");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path.with_extension("new"), "half").unwrap();
        for (content, mode, bits) in [
            ("one", "0400", 0o400),
            ("one", "0644", 0o644),
            ("two", "0444", 0o444),
        ] {
            put(&[file(content, mode)], |_, _| path.clone()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, bits);
        }
    }

    #[test]
    fn an_error_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "").unwrap();
        let error = put(&[file("", "0444")], |_, _| folder.path().join("a/0")).unwrap_err();
        assert!(
            error.to_string().starts_with("file /etc/web.conf: "),
            "{error}"
        );
    }
}
