//! `block!`: declares a mapping of the file once, as a struct, and derives everything else from it.

/// Declares a block.
///
/// ```text
/// block! {
///     /// What the block is for.
///     pub struct Name {
///         /// The entry of the reference.
///         field: Type = default, positive(), restart();
///         /// `=>`: the default follows from fields above it.
///         other as "name": Type => expression, default("words for the reference");
///     }
///     also { /// Not a key: filled in by `settle`.
///         extra: Type; }
///     settle function
/// }
/// ```
///
/// After the default stand the methods of `Key` that apply. `pub struct Name whole` is a block that, once written,
/// starts from its own defaults whatever it would have inherited. `settle` is called with the block and its scope after
/// the fields are read, for checks between fields and for what follows from them.
macro_rules! block {
    (
        $(#[doc = $about:literal])+
        pub struct $name:ident $($whole:ident)? {
            $(
                $(#[doc = $doc:literal])+
                $field:ident $(as $rename:literal)? : $type:ty $(= $fixed:expr)? $(=> $derived:expr)?
                $(, $method:ident($($argument:expr),*))* ;
            )+
        }
        $(also { $($(#[doc = $extra_doc:literal])+ $extra:ident : $extra_type:ty ;)+ })?
        $(settle $settle:expr)?
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

        impl $crate::spec::Value for $name {
            fn kind() -> $crate::spec::Kind {
                $crate::spec::Kind::Block {
                    keys: <Self as $crate::spec::Block>::KEYS,
                    about: <Self as $crate::spec::Block>::ABOUT,
                    defaults: || $crate::spec::Value::show(&Self::default(), &$crate::spec::Key::NONE),
                }
            }

            fn read(
                reader: &mut $crate::spec::Reader<'_>,
                node: &$crate::yaml::Node,
                key: &$crate::spec::Key,
                base: Option<&Self>,
            ) -> Option<Self> {
                let keys = <Self as $crate::spec::Block>::KEYS;
                let mut scope = $crate::spec::Scope::enter(reader, node, key, keys)?;
                #[allow(unused_variables, reason = "a block may derive every field")]
                let base = block!(@base base $($whole)?);
                $(
                    let $field: $type = {
                        let absent = block!(@absent base.$field [$($fixed)?] [$($derived)?]);
                        scope.field(const { &block!(@key $field [$($rename)?] $type [$($doc)+] $(.$method($($argument),*))*) }, absent)
                    };
                )+
                #[allow(unused_mut, reason = "not every block has something to settle")]
                let mut block = Self { $($field,)+ $($($extra: base.$extra.clone(),)+)? };
                $(($settle)(&mut block, &mut scope);)?
                Some(block)
            }

            fn show(&self, _key: &$crate::spec::Key) -> $crate::yaml::emit::Shown {
                let values = [$($crate::spec::Value::show(&self.$field, const {
                    &block!(@key $field [$($rename)?] $type [] $(.$method($($argument),*))*)
                })),+];
                let names = <Self as $crate::spec::Block>::KEYS.iter().map(|key| key.name.to_owned());
                $crate::yaml::emit::Shown::Map(names.zip(values).collect())
            }
        }
    };
    (@key $field:ident [$rename:literal] $type:ty [$($doc:literal)*] $($chain:tt)*) => {
        $crate::spec::Key::new($rename, concat!($($doc, "\n"),*), <$type as $crate::spec::Value>::kind) $($chain)*
    };
    (@key $field:ident [] $type:ty [$($doc:literal)*] $($chain:tt)*) => {
        $crate::spec::Key::new(stringify!($field), concat!($($doc, "\n"),*), <$type as $crate::spec::Value>::kind)
            $($chain)*
    };
    (@one $default:expr) => { $default };
    (@base $base:ident whole) => {{
        let _ = $base;
        Self::default()
    }};
    (@base $base:ident) => { $base.cloned().unwrap_or_default() };
    (@absent $base:ident . $field:ident [$fixed:expr] []) => { $base.$field.clone() };
    (@absent $base:ident . $field:ident [] [$derived:expr]) => { $derived };
}
pub(crate) use block;
