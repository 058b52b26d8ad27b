//! The macro behind `resources!`.

/// Makes the closed set of primitive types: `Kind`, `Spec`, `Observed`, and every method of
/// [`Resource`](super::Resource) for any of them.
macro_rules! resources {
    ($($(#[$doc:meta])* $variant:ident($text:literal): $spec:ident, $observed:ident;)*) => {
        /// A primitive resource type.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub enum Kind { $($(#[$doc])* $variant,)* }

        impl Kind {
            /// Every type, in the order of their declaration.
            pub const ALL: &'static [Kind] = &[$(Kind::$variant,)*];

            /// The name in manifests and addresses.
            pub fn as_str(self) -> &'static str {
                match self { $(Kind::$variant => $text,)* }
            }

            /// Checks a name of this type.
            ///
            /// # Errors
            /// What is wrong with it, as a phrase.
            pub fn check_name(self, name: &str) -> Result<(), String> {
                match self { $(Kind::$variant => $spec::check_name(name),)* }
            }

            /// The file, directory or link on the host that a resource of this name owns.
            pub fn path(self, name: &str) -> Option<String> {
                match self { $(Kind::$variant => $spec::path(name),)* }
            }

            /// Resources that come after one of this name and react to its changes without naming it.
            pub fn dependents(self, name: &str) -> Vec<Address> {
                match self { $(Kind::$variant => $spec::dependents(name),)* }
            }

            /// Fields that are sets: where several places name one, they unite.
            pub fn sets(self) -> &'static [&'static str] {
                match self { $(Kind::$variant => <$spec as Resource>::SETS,)* }
            }

            /// Fields of the language that this version doesn't do.
            pub fn unsupported(self) -> &'static [&'static str] {
                match self { $(Kind::$variant => <$spec as Resource>::UNSUPPORTED,)* }
            }

            /// Fields whose items are addresses of other resources.
            pub fn references(self) -> &'static [&'static str] {
                match self { $(Kind::$variant => <$spec as Resource>::REFERENCES,)* }
            }

            /// Order of types when nothing else orders two resources: lower comes first.
            pub fn rank(self) -> u8 {
                match self { $(Kind::$variant => <$spec as Resource>::RANK,)* }
            }

            /// Fields that running something satisfies; never drift.
            pub fn reaction_fields(self) -> &'static [&'static str] {
                match self { $(Kind::$variant => <$spec as Resource>::REACTIONS,)* }
            }

            /// Fields that running something satisfies, the host's own moves included.
            pub fn run_fields(self) -> &'static [&'static str] {
                match self { $(Kind::$variant => <$spec as Resource>::RUNS,)* }
            }

            /// True if it is on the host, judged by the fields that differ alone.
            pub fn made(self, differing: &[FieldChange]) -> bool {
                match self { $(Kind::$variant => $spec::made(differing),)* }
            }

            /// True if the connection that drives hosts depends on it.
            pub fn is_lifeline(self, name: &str) -> bool {
                match self { $(Kind::$variant => $spec::lifeline(name),)* }
            }

            /// The JSON schema of this type's spec, with everything that it names inlined.
            #[cfg(feature = "schema")]
            pub fn schema(self) -> schemars::Schema {
                let settings = schemars::generate::SchemaSettings::draft2020_12();
                let generator = settings.with(|s| s.inline_subschemas = true).into_generator();
                match self { $(Kind::$variant => generator.into_root_schema_for::<$spec>(),)* }
            }

            /// Decodes a spec of this type.
            ///
            /// # Errors
            /// The deserializer's.
            pub fn decode<'de, D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Spec, D::Error> {
                match self { $(Kind::$variant => $spec::deserialize(deserializer).map(Spec::$variant),)* }
            }
        }

        impl FromStr for Kind {
            type Err = UnknownKind;

            fn from_str(text: &str) -> Result<Self, UnknownKind> {
                match text { $($text => Ok(Kind::$variant),)* _ => Err(UnknownKind) }
            }
        }

        /// What is desired of one resource.
        #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub enum Spec { $($(#[$doc])* $variant($spec),)* }

        /// What was observed of one resource.
        #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub enum Observed { $($(#[$doc])* $variant($observed),)* }

        impl Spec {
            /// Its type.
            pub fn kind(&self) -> Kind {
                match self { $(Spec::$variant(_) => Kind::$variant,)* }
            }

            /// What can't hold whatever the host is like.
            pub fn check(&self, name: &str) -> Vec<Problem> {
                match self { $(Spec::$variant(spec) => spec.check(name),)* }
            }

            /// Returns the fields in which the host differs; empty when in sync. An observation of
            /// another type differs in its `type`.
            pub fn compare(&self, observed: &Observed) -> Vec<FieldChange> {
                match (self, observed) {
                    $((Spec::$variant(spec), Observed::$variant(observed)) => spec.compare(observed),)*
                    _ => vec![FieldChange::new("type", observed.kind().as_str(), self.kind().as_str())],
                }
            }

            /// What must come before it.
            pub fn requires(&self, name: &str) -> Vec<Dependency> {
                let mut all = match self { $(Spec::$variant(spec) => spec.requires(name),)* };
                all.extend(self.after().iter().map(|address| Dependency {
                    address: address.clone(),
                    strength: Strength::Explicit,
                }));
                all
            }

            /// Inputs that it names: what it does when one of them changes.
            pub fn triggers(&self, name: &str) -> Vec<Trigger> {
                match self { $(Spec::$variant(spec) => spec.triggers(name),)* }
            }

            /// What it does when a resource changes that it depends on unnamed.
            pub fn on_input(&self, name: &str) -> Option<Consequence> {
                match self { $(Spec::$variant(spec) => spec.on_input(name),)* }
            }

            /// What it does after any change of the same plan.
            pub fn on_any_change(&self, name: &str) -> Option<Consequence> {
                match self { $(Spec::$variant(spec) => spec.on_any_change(name),)* }
            }

            /// How sure a change of it can be before it is made.
            pub fn certainty(&self) -> Certainty {
                match self { $(Spec::$variant(spec) => spec.certainty(),)* }
            }

            /// The systemd unit that it is about.
            pub fn unit(&self, name: &str) -> Option<String> {
                match self { $(Spec::$variant(spec) => spec.unit(name),)* }
            }

            /// The owning user and group that it names.
            pub fn owners(&self) -> Owners<'_> {
                match self { $(Spec::$variant(spec) => spec.owners(),)* }
            }

            /// True if it reacts to changes of its inputs as it was found; `None` means in sync.
            pub fn reacts(&self, observed: Option<&Observed>) -> bool {
                match (self, observed) {
                    $((Spec::$variant(spec), None) => spec.reacts(None),)*
                    $((Spec::$variant(spec), Some(Observed::$variant(observed))) => spec.reacts(Some(observed)),)*
                    _ => false,
                }
            }

            /// True if what was found must go before this can be made.
            pub fn replaces(&self, observed: &Observed) -> bool {
                match (self, observed) {
                    $((Spec::$variant(spec), Observed::$variant(observed)) => spec.replaces(observed),)*
                    _ => true,
                }
            }

            /// True if changing it may change what other resources look like.
            pub fn invalidates(&self) -> bool {
                match self { $(Spec::$variant(spec) => spec.invalidates(),)* }
            }

            /// What a change of these fields does beyond them.
            pub fn consequences(&self, name: &str, fields: &[FieldChange]) -> Vec<Consequence> {
                match self { $(Spec::$variant(spec) => spec.consequences(name, fields),)* }
            }

            /// True if nothing of it is to be on the host.
            pub fn wants_absent(&self) -> bool {
                match self { $(Spec::$variant(spec) => spec.wants_absent(),)* }
            }

            /// Explicit ordering by the manifest.
            pub fn after(&self) -> &[Address] {
                match self { $(Spec::$variant(spec) => spec.after(),)* }
            }

            /// How long it is managed.
            pub fn manage(&self) -> Manage {
                match self { $(Spec::$variant(spec) => spec.manage(),)* }
            }

            /// Contents that it needs.
            pub fn contents(&self) -> Vec<Content> {
                match self { $(Spec::$variant(spec) => spec.contents(),)* }
            }

            /// The spec alone as JSON, without its type (as `plumb render` shows it).
            ///
            /// # Errors
            /// `serde_json`'s; none is known for our types.
            pub fn to_json(&self) -> Result<serde_json::Value, serde_json::Error> {
                match self { $(Spec::$variant(spec) => serde_json::to_value(spec),)* }
            }

            /// The same without these fields, as if the manifest didn't name them. None where it
            /// can't do without one of them.
            pub fn without(&self, fields: &[&str]) -> Option<Self> {
                let mut json = self.to_json().ok()?;
                let map = json.as_object_mut()?;
                for field in fields {
                    map.remove(*field);
                }
                self.kind().decode(json).ok()
            }

            /// The digest of its canonical form.
            ///
            /// # Errors
            /// When the spec has no canonical form; none is known for our types.
            pub fn digest(&self) -> Result<Digest, NotCanonical> {
                Digest::of("spec", self)
            }
        }

        impl Observed {
            /// Its type.
            pub fn kind(&self) -> Kind {
                match self { $(Observed::$variant(_) => Kind::$variant,)* }
            }

            /// True if something of it is on the host.
            pub fn exists(&self) -> bool {
                match self { $(Observed::$variant(observed) => <$spec as Resource>::exists(observed),)* }
            }

            /// The digest of its canonical form: a plan's precondition.
            ///
            /// # Errors
            /// When the observation has no canonical form; none is known for our types.
            pub fn digest(&self) -> Result<Digest, NotCanonical> {
                Digest::of("observed", self)
            }
        }
    };
}

pub(super) use resources;
