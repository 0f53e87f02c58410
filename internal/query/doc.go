// Package query is the twin query language of IoT Hub: it parses a condition
// or a whole statement, prints it in one canonical form, and evaluates it over
// twins and jobs' rows, reading raw JSON no further than it must. For users it
// is described in docs/query.md.
//
// # Language
//
// A statement is SELECT, perhaps TOP n, * or a list, FROM and a source, perhaps
// WHERE and a condition, perhaps GROUP BY and attributes. The list has
// attributes and COUNT(), AVG, SUM, MIN and MAX of an attribute, each with or
// without AS and an alias. devices.jobs knows SELECT * and WHERE alone.
//
// A condition joins comparisons with NOT, AND and OR, which bind in that
// order; below them come = != <> < <= > >= and IN and NIN, below those + and
// -, then * / and %, then a minus sign. Attributes are paths (tags.site);
// names that are reserved words or hold other characters than letters, digits,
// _ and $ stand in double brackets (tags.[[my-key]]). Keywords, functions and
// the names that the hub itself gives (deviceId, connectionState, …) may be
// written in any case; names that users give may not.
//
// # Evaluation
//
// A condition is true, false or undefined, and only true selects a row.
//
//   - An attribute that is not there is undefined.
//   - Two numbers, two strings or two booleans can be compared; false is less
//     than true, strings compare byte by byte, numbers as float64. null equals
//     null and nothing else can be asked of it. Everything else compares to
//     undefined, also with !=.
//   - a IN [x, y] is a = x OR a = y, and NIN is its negation.
//   - NOT, AND and OR follow three-valued logic: undefined AND false is false,
//     undefined OR true is true, else undefined wins. A value that is no
//     boolean counts as undefined.
//   - Arithmetic works on numbers, % takes the sign of its left side. With
//     anything else, on division by zero and beyond the range of a float64 the
//     result is undefined.
//   - IS_DEFINED is true for null. STARTSWITH and ENDSWITH of anything but a
//     string are undefined.
//
// # Rows
//
//   - An attribute that is not there is left out of a row. A column is called
//     as its attribute's last name, or as its aggregate in lower case.
//   - With aggregates or GROUP BY a row stands for those that are equal in all
//     attributes of GROUP BY, without GROUP BY for all of them. A value that
//     cannot be compared counts as undefined, and null is one of its own.
//   - AVG, SUM, MIN and MAX are of the numbers among the values, and undefined
//     without one.
package query
