package dashboard

import (
	_ "embed"
	"slices"
	"strings"
)

// The two tables are files of the IANA time zone database, version 2025b, unchanged and in the public domain.
var (
	//go:embed data/iso3166.tab
	countryTable string
	//go:embed data/zone.tab
	zoneTable string
)

// plainNames replaces names that the table words for sorting or leaves out.
var plainNames = map[string]string{
	"AS": "American Samoa", "CD": "Congo (Kinshasa)", "CG": "Congo (Brazzaville)", "GB": "United Kingdom",
	"KP": "North Korea", "KR": "South Korea", "WS": "Samoa", "CZ": "Czechia", "TR": "Türkiye",
	// Not in ISO 3166, but used by every table of addresses by country.
	"XK": "Kosovo", "EU": "Europe (no country known)",
}

// countryNames reads the English names of countries by ISO 3166-1 code.
func countryNames() map[string]string {
	names := make(map[string]string, 256)
	for fields := range tableLines(countryTable) {
		names[fields[0]] = fields[1]
	}
	for code, name := range plainNames {
		names[code] = name
	}
	return names
}

// KnownCountry tells whether there is a country of a code, such as DE.
func KnownCountry(code string) bool {
	_, ok := countryNames()[code]
	return ok
}

// zoneNames reads the time zones that people know by the name of a city, sorted, with UTC first.
func zoneNames() []string {
	var zones []string
	for fields := range tableLines(zoneTable) {
		zones = append(zones, fields[2])
	}
	slices.Sort(zones)
	return slices.Insert(slices.Compact(zones), 0, "UTC")
}

// tableLines yields the tab-separated fields of a table's lines, without its comments.
func tableLines(table string) func(yield func([]string) bool) {
	return func(yield func([]string) bool) {
		for line := range strings.Lines(table) {
			line = strings.TrimRight(line, "\n")
			if line == "" || line[0] == '#' {
				continue
			}
			if !yield(strings.Split(line, "\t")) {
				return
			}
		}
	}
}

// countryName returns the English name of a code, or the code itself.
func (s *Server) countryName(code string) string {
	if name, ok := s.countries[code]; ok {
		return name
	}
	return code
}

// countryCode returns the code of an English name, or what was typed, in upper case if it looks like a code.
func (s *Server) countryCode(typed string) string {
	for code, name := range s.countries {
		if strings.EqualFold(name, typed) {
			return code
		}
	}
	if len(typed) == 2 {
		return strings.ToUpper(typed)
	}
	return typed
}

// countryFlag writes a country code as its pair of regional indicator symbols.
func countryFlag(code string) string {
	if len(code) != 2 || code[0] < 'A' || code[0] > 'Z' || code[1] < 'A' || code[1] > 'Z' {
		return ""
	}
	const indicatorA = 0x1F1E6
	return string([]rune{indicatorA + rune(code[0]-'A'), indicatorA + rune(code[1]-'A')})
}
