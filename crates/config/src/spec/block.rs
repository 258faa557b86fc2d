//! `block!`: declares a mapping of the file as a struct and derives reading, writing and documentation.

/// Declares a block.
///
/// ```text
/// block! {
///     /// Description in the reference.
///     pub struct Name {
///         /// Description in the reference.
///         field: Type = default, positive(), restart();
///         /// `=>`: the default is computed from the fields above.
///         other as "name": Type => expression, default("words for the reference");
///     }
///     derived { /// Not a key: set by `finalize`.
///         extra: Type; }
///     finalize function
/// }
/// ```
///
/// The default is followed by methods of `Key`. `pub struct Name standalone` is a block that does not inherit: keys that
/// are not written get the block's own defaults. `finalize` is called with the block and its mapping after the fields are
/// read, to check fields against each other and to set derived fields.
macro_rules! block {
    (
        $(#[doc = $about:literal])+
        pub struct $name:ident $($standalone:ident)? {
            $(
                $(#[doc = $doc:literal])+
                $field:ident $(as $rename:literal)? : $type:ty $(= $fixed:expr)? $(=> $derived:expr)?
                $(, $method:ident($($argument:expr),*))* ;
            )+
        }
        $(derived { $($(#[doc = $extra_doc:literal])+ $extra:ident : $extra_type:ty ;)+ })?
        $(finalize $finalize:expr)?
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $field: $type,)+
            $($($(#[doc = $extra_doc])+ pub $extra: $extra_type,)+)?
        }

        impl $crate::spec::Block for $name {
            #[allow(clippy::large_stack_arrays, reason = "promoted to a static; it never is on a stack")]
            const KEYS: &'static [$crate::spec::Key] = &[
                $(block!(@key $field [$($rename)?] $type [$($doc)+] $(.$method($($argument),*))*),)+
            ];
            const ABOUT: &'static str = concat!($($about, "\n"),+);
        }

        impl Default for $name {
            fn default() -> Self {
                $(let $field: $type = block!(@one $($fixed)? $($derived)?);)+
                Self { $($field,)+ $($($extra: Default::default(),)+)? }
            }
        }

        impl $crate::spec::ConfigValue for $name {
            fn kind() -> $crate::spec::Kind {
                $crate::spec::Kind::Block {
                    keys: <Self as $crate::spec::Block>::KEYS,
                    about: <Self as $crate::spec::Block>::ABOUT,
                    defaults: || $crate::spec::ConfigValue::to_value(&Self::default(), &$crate::spec::Key::NONE),
                }
            }

            fn read(
                reader: &mut $crate::spec::Reader<'_>,
                node: &$crate::yaml::Node,
                key: &$crate::spec::Key,
                base: Option<&Self>,
            ) -> Option<Self> {
                let keys = <Self as $crate::spec::Block>::KEYS;
                let mut mapping = $crate::spec::Mapping::enter(reader, node, key, keys)?;
                #[allow(unused_variables, reason = "a block may derive every field")]
                let base = block!(@base base $($standalone)?);
                $(
                    let $field: $type = {
                        let absent = block!(@absent base.$field [$($fixed)?] [$($derived)?]);
                        mapping.field(const { &block!(@key $field [$($rename)?] $type [$($doc)+] $(.$method($($argument),*))*) }, absent)
                    };
                )+
                #[allow(unused_mut, reason = "not every block has something to finalize")]
                let mut block = Self { $($field,)+ $($($extra: base.$extra.clone(),)+)? };
                $(($finalize)(&mut block, &mut mapping);)?
                Some(block)
            }

            fn to_value(&self, _key: &$crate::spec::Key) -> $crate::yaml::emit::Value {
                let values = [$($crate::spec::ConfigValue::to_value(&self.$field, const {
                    &block!(@key $field [$($rename)?] $type [] $(.$method($($argument),*))*)
                })),+];
                let names = <Self as $crate::spec::Block>::KEYS.iter().map(|key| key.name.to_owned());
                $crate::yaml::emit::Value::Map(names.zip(values).collect())
            }
        }
    };
    (@key $field:ident [$rename:literal] $type:ty [$($doc:literal)*] $($chain:tt)*) => {
        $crate::spec::Key::new($rename, concat!($($doc, "\n"),*), <$type as $crate::spec::ConfigValue>::kind) $($chain)*
    };
    (@key $field:ident [] $type:ty [$($doc:literal)*] $($chain:tt)*) => {
        $crate::spec::Key::new(stringify!($field), concat!($($doc, "\n"),*), <$type as $crate::spec::ConfigValue>::kind)
            $($chain)*
    };
    (@one $default:expr) => { $default };
    (@base $base:ident standalone) => {{
        let _ = $base;
        Self::default()
    }};
    (@base $base:ident) => { $base.cloned().unwrap_or_default() };
    (@absent $base:ident . $field:ident [$fixed:expr] []) => { $base.$field.clone() };
    (@absent $base:ident . $field:ident [] [$derived:expr]) => { $derived };
}
pub(crate) use block;
