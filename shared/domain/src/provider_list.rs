//! All configured providers.

use std::collections::BTreeSet;

use crate::provider::Provider;

/// The configured providers: one or more, each checked, with names of their own.
#[derive(Clone, Debug)]
pub struct ProviderList(Vec<Provider>);

impl ProviderList {
    /// Checks every provider. The error names the provider and what is wrong with it.
    pub fn new(providers: Vec<Provider>) -> Result<Self, String> {
        let mut names = BTreeSet::new();
        for provider in &providers {
            if let Some(problem) = provider.problem() {
                return Err(format!("{}: {problem}", provider.name));
            }
            if !names.insert(&provider.name) {
                return Err(format!("{}: name is taken by another", provider.name));
            }
        }
        if providers.is_empty() {
            Err("holds no provider".to_owned())
        } else {
            Ok(Self(providers))
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Provider> {
        self.0.iter()
    }

    pub fn find(&self, name: &str) -> Option<&Provider> {
        self.iter().find(|provider| provider.name == name)
    }

    /// The provider that was asked for, which may have left the configuration since, or all that
    /// are configured.
    pub fn names<'a>(&'a self, asked: Option<&'a str>) -> Vec<&'a str> {
        let all = || self.iter().map(|provider| provider.name.as_str()).collect();
        asked.map_or_else(all, |name| vec![name])
    }

    /// Messages in a full batch: as many as the provider with the largest requests takes.
    pub fn batch_size_max(&self) -> usize {
        self.iter()
            .map(|provider| provider.batch_size)
            .max()
            .unwrap_or(1)
    }
}
