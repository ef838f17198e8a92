//! A form's parts are declared once: what they hold, how they are written and read, and what the reference page says of
//! them follow from the same lines.

/// One part of the form, for the reference page.
pub struct Part {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Its fields in their order: name, shape, meaning. Of a choice: its values with their numbers.
    pub fields: Vec<(&'static str, String, &'static str)>,
}

/// What the reference page tells of.
pub trait Described {
    /// Its part of the page.
    fn part() -> Part;
}

/// Declares a part that borrows from the octets it was read from (`Name<'a>`), or one that does not (`Name`).
///
/// Contents are personal data: `Debug` shows the name of the part only.
macro_rules! part {
    (
        $(#[doc = $about:literal])+
        $name:ident $(<$life:lifetime>)? {
            $( $(#[doc = $meaning:literal])+ $field:ident: $kind:ty, )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, PartialEq)]
        pub struct $name $(<$life>)? {
            $( $(#[doc = $meaning])+ pub $field: $kind, )+
        }

        impl<'r $(: $life, $life: 'r)?> $crate::kept::field::Field<'r> for $name $(<$life>)? {
            fn shape() -> String {
                stringify!($name).into()
            }

            fn write(&self, out: &mut Vec<u8>) {
                $( $crate::kept::field::Field::write(&self.$field, out); )+
            }

            fn read(
                input: &mut $crate::kept::field::Reader<'r>,
            ) -> Result<Self, $crate::kept::field::BadForm> {
                // In the order in which they stand here: a struct's fields are evaluated as they are written.
                Ok(Self { $( $field: $crate::kept::field::Field::read(input)?, )+ })
            }
        }

        impl $(<$life>)? $crate::kept::shape::Described for $name $(<$life>)? {
            fn part() -> $crate::kept::shape::Part {
                $crate::kept::shape::Part {
                    name: stringify!($name),
                    about: concat!($($about),+),
                    fields: vec![$((
                        stringify!($field),
                        <$kind as $crate::kept::field::Field<'_>>::shape(),
                        concat!($($meaning),+),
                    )),+],
                }
            }
        }

        impl $(<$life>)? std::fmt::Debug for $name $(<$life>)? {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}

/// Gives numbers to the words of a choice that is declared elsewhere.
macro_rules! numbered {
    (
        $(#[doc = $about:literal])+
        $name:ident {
            $( $(#[doc = $meaning:literal])+ $word:ident = $number:literal, )+
        }
    ) => {
        impl $crate::kept::field::Field<'_> for $name {
            fn shape() -> String {
                stringify!($name).into()
            }

            fn write(&self, out: &mut Vec<u8>) {
                out.push(match self {
                    $( Self::$word => $number, )+
                });
            }

            fn read(
                input: &mut $crate::kept::field::Reader<'_>,
            ) -> Result<Self, $crate::kept::field::BadForm> {
                match input.octet()? {
                    $( $number => Ok(Self::$word), )+
                    _ => Err($crate::kept::field::BadForm::Value(stringify!($name))),
                }
            }
        }

        impl $crate::kept::shape::Described for $name {
            fn part() -> $crate::kept::shape::Part {
                $crate::kept::shape::Part {
                    name: stringify!($name),
                    about: concat!($($about),+),
                    fields: vec![$((
                        stringify!($word),
                        stringify!($number).into(),
                        concat!($($meaning),+),
                    )),+],
                }
            }
        }
    };
}

pub(crate) use {numbered, part};
