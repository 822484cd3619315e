package storage

import (
	"slices"
	"strings"
)

// Prop is one property of an event.
type Prop struct{ Key, Value string }

// EncodeProps writes properties as the column Props holds them, in the one form in which equal sets are equal text: a
// JSON object of strings with sorted keys, without spaces, escaping only what JSON must have escaped. Of repeated
// keys the first counts. No properties are the empty string. Texts must be UTF-8.
func EncodeProps(props []Prop) string {
	if len(props) == 0 {
		return ""
	}
	sorted := slices.Clone(props)
	slices.SortStableFunc(sorted, func(a, b Prop) int { return strings.Compare(a.Key, b.Key) })
	sorted = slices.CompactFunc(sorted, func(a, b Prop) bool { return a.Key == b.Key })
	out := make([]byte, 0, 128)
	for i, p := range sorted {
		out = append(out, "{,"[min(i, 1)])
		out = appendQuoted(out, p.Key)
		out = append(out, ':')
		out = appendQuoted(out, p.Value)
	}
	return string(append(out, '}'))
}

// upperHex are the digits of escapes: two spellings of one text would be two values.
const upperHex = "0123456789ABCDEF"

// appendQuoted appends s as a JSON string.
func appendQuoted(out []byte, s string) []byte {
	out = append(out, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			out = append(out, '\\', c)
		case c < ' ':
			out = append(out, '\\', 'u', '0', '0', upperHex[c>>4], upperHex[c&15])
		default:
			out = append(out, c)
		}
	}
	return append(out, '"')
}

// propValue returns the value of a key in what EncodeProps wrote, the empty string if it is not there. Text that
// EncodeProps did not write, such as the value that stands for all others, is the value of every key.
func propValue(encoded, key string) string {
	if !strings.HasPrefix(encoded, "{") {
		return encoded
	}
	for rest := encoded; len(rest) > 1; {
		k, after, ok := cutQuoted(rest[1:]) // without the brace or comma before it
		if !ok || !strings.HasPrefix(after, ":") {
			return encoded
		}
		value, after, ok := cutQuoted(after[1:])
		if !ok {
			return encoded
		}
		if unquote(k) == key {
			return unquote(value)
		}
		rest = after
	}
	return ""
}

// cutQuoted cuts a quoted string from the start of s, and leaves its escapes as they are.
func cutQuoted(s string) (quoted, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		return "", "", false
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return s[1:i], s[i+1:], true
		case '\\':
			i++
		}
	}
	return "", "", false
}

// unquote takes the escapes of appendQuoted away.
func unquote(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != '\\' || i+1 == len(s):
			out = append(out, s[i])
		case s[i+1] == 'u' && i+5 < len(s):
			out = append(out, byte(strings.IndexByte(upperHex, s[i+4])<<4|strings.IndexByte(upperHex, s[i+5])))
			i += 5
		default:
			i++
			out = append(out, s[i])
		}
	}
	return string(out)
}
