//! Where the data lies and which configuration counts; `config show`; the log.

use crate::{
    cli::failure::Failure,
    config::{load::Sources, settings::Config},
    domain::place,
};
use clap::{
    Args,
    builder::{PathBufValueParser, TypedValueParser},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// What every command takes.
#[derive(Args)]
pub struct Global {
    /// Configuration file [default: countersign.toml in the data directory, if there]
    #[arg(long, global = true, value_name = "FILE", env = "COUNTERSIGN_CONFIG", value_parser = a_path())]
    pub config: Option<PathBuf>,
    /// Data directory [default: $XDG_DATA_HOME/countersign, else ~/.local/share/countersign]
    #[arg(long, global = true, value_name = "DIR", env = "COUNTERSIGN_DATA", value_parser = a_path())]
    pub data: Option<PathBuf>,
    /// Shown in the help of `mcp`, `keys` and `connect` only
    #[arg(long, global = true, value_name = "URL", hide = true)]
    pub server: Option<String>,
}

/// Takes a path of which all is written out.
pub fn a_path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(place::checked)
}

/// The effective configuration and the data directory, absolute.
pub struct Settings {
    pub config: Arc<Config>,
    pub data: PathBuf,
}

impl Global {
    pub fn data(&self) -> Result<PathBuf, Failure> {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
        let data = match &self.data {
            Some(dir) if !dir.as_os_str().is_empty() => dir.clone(),
            _ => absolute("XDG_DATA_HOME")
                .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
                .map(|dir| dir.join("countersign"))
                .ok_or_else(|| Failure::Usage("there is no HOME to keep the data in: say --data DIR".to_owned()))?,
        };
        // Wherever it comes from: nothing is made under a name that was to be replaced.
        let data = place::checked(data).map_err(|error| Failure::Usage(format!("the data directory: {error}; or say --data DIR")))?;
        Ok(std::path::absolute(data)?)
    }

    /// Loads file < environment < flags.
    pub fn load(&self, flags: &[(&'static str, String)], insecure: bool) -> Result<Settings, Failure> {
        let data = self.data()?;
        let path = match &self.config {
            Some(path) => Some(path.clone()),
            None => Some(data.join("countersign.toml")).filter(|path| path.exists()),
        };
        let file = match path {
            Some(path) => {
                let text = std::fs::read_to_string(&path)
                    .map_err(|error| Failure::failed(format!("can't read the configuration {}: {error}", path.display())))?;
                Some((path, text))
            }
            None => None,
        };
        // Variables that are not text can't be settings.
        let environment = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let sources = Sources { file, environment: environment.collect(), flags: flags.to_vec(), insecure };
        let config = Config::load(&sources).map_err(|error| Failure::failed(format!("configuration: {error}")))?;
        Ok(Settings { config: Arc::new(config), data })
    }

    /// The arguments that make another invocation use the same data and configuration.
    pub fn repeated(&self) -> Result<Vec<String>, Failure> {
        let mut arguments = Vec::new();
        for (flag, path) in [("--data", &self.data), ("--config", &self.config)] {
            if let Some(path) = path {
                arguments.extend([flag.to_owned(), text(&std::path::absolute(path)?)?]);
            }
        }
        Ok(arguments)
    }
}

/// Tells whoever starts a server what of the settings counts for nothing.
pub fn warn(config: &Config) {
    config.left_alone.iter().for_each(|name| tracing::warn!("{name} is no setting, and left alone"));
    config.retired.iter().for_each(|name| tracing::warn!("the setting `{name}` does nothing any more, and can go"));
}

/// A path for a line or a file that holds text only.
pub fn text(path: &Path) -> Result<String, Failure> {
    path.to_str().map(str::to_owned).ok_or_else(|| Failure::failed(format!("the path {} is not UTF-8", path.display())))
}
