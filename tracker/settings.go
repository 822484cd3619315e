package tracker

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"dachs/storage"
)

const (
	// maxRules bounds each list of a site's settings: all of it is looked at for each hit.
	maxRules = 500
	// maxPaths bounds the patterns of paths. Those that begin with ** are all tried at each byte of a path: this many take ten
	// or twenty milliseconds for the longest path that a hostile visitor can send, if all begin so.
	maxPaths = 100
	// maxRule bounds one entry, in bytes.
	maxRule = 200
	// minAgent is the shortest part of a user agent that can be left out, in bytes: shorter ones are in many.
	minAgent = 3
)

// CheckSettings brings settings to the form in which Rules compare them: hosts and user agents in lower case, countries in
// upper case, networks without host bits, each once. knownCountry tells whether there is a country of a code. Errors say which
// value is wrong, and what is wanted.
func CheckSettings(s *storage.Settings, knownCountry func(code string) bool) error {
	e := &s.Exclude
	for _, list := range []struct {
		values *[]string
		most   int
		clean  func(string) (string, error)
	}{
		{&s.Hosts, maxRules, cleanRuleHost}, {&s.Query, maxRules, cleanQueryName}, {&e.Paths, maxPaths, cleanPattern},
		{&e.Networks, maxRules, cleanNetwork}, {&e.Agents, maxRules, cleanAgent},
		{&e.Countries, maxRules, func(code string) (string, error) { return cleanCountry(code, knownCountry) }},
	} {
		cleaned := make([]string, 0, len(*list.values))
		for _, v := range *list.values {
			clean, err := list.clean(strings.TrimSpace(v))
			if err != nil {
				return err
			}
			if !slices.Contains(cleaned, clean) {
				cleaned = append(cleaned, clean)
			}
		}
		if len(cleaned) > list.most {
			return fmt.Errorf("%d entries of one kind; want at most %d: use patterns or wider networks", len(cleaned), list.most)
		}
		if len(cleaned) == 0 {
			cleaned = nil
		}
		*list.values = cleaned
	}
	if len(e.Paths) > 0 && compilePaths(e.Paths) == nil {
		return fmt.Errorf("the patterns of paths are too much together; want fewer")
	}
	return nil
}

// printable refuses what cannot be part of any value, or is too long to be compared with each hit.
func printable(kind, s string) error {
	switch {
	case s == "":
		return fmt.Errorf("%s: is empty", kind)
	case len(s) > maxRule:
		return fmt.Errorf("%s %.20q...: has %d bytes; want at most %d", kind, s, len(s), maxRule)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		return fmt.Errorf("%s %q: has characters that cannot be printed", kind, s)
	}
	return nil
}

func cleanRuleHost(s string) (string, error) {
	rest, any := strings.CutPrefix(s, anySub)
	if _, after, ok := strings.Cut(rest, "://"); ok && !any {
		rest = after
	}
	host, err := storage.CleanDomain(rest)
	if err != nil || strings.Contains(rest, "/") {
		return "", fmt.Errorf("host %q: want a name such as example.com, or *.example.com for all below it", s)
	}
	if any {
		host = anySub + host
	}
	return host, nil
}

func cleanQueryName(s string) (string, error) {
	if err := printable("parameter", s); err != nil {
		return "", err
	}
	if strings.ContainsAny(s, "&=#? ") {
		return "", fmt.Errorf("parameter %q: want its name only, such as page", s)
	}
	return s, nil
}

func cleanPattern(s string) (string, error) {
	if err := printable("path", s); err != nil {
		return "", err
	}
	switch {
	case s[0] != '/' && s[0] != '*':
		return "", fmt.Errorf("path %q: want it to begin with / or *, such as /admin/**", s)
	case strings.Contains(s, "?"):
		return "", fmt.Errorf("path %q: want it without a query; what comes after ? is not looked at", s)
	}
	return s, nil
}

func cleanNetwork(s string) (string, error) {
	p, err := parseNetwork(s)
	if err != nil {
		return "", err
	}
	return p.String(), nil
}

func cleanAgent(s string) (string, error) {
	if err := printable("user agent", s); err != nil {
		return "", err
	}
	if len(s) < minAgent {
		return "", fmt.Errorf("user agent %q: want at least %d characters: less is part of many", s, minAgent)
	}
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return "", fmt.Errorf("user agent %q: want ASCII only, as user agents are", s)
		}
	}
	return strings.ToLower(s), nil
}

func cleanCountry(s string, known func(string) bool) (string, error) {
	code := strings.ToUpper(s)
	if len(code) != 2 || !known(code) {
		return "", fmt.Errorf("country %q: unknown; want its code of two letters (ISO 3166-1), such as DE", s)
	}
	return code, nil
}

// people are user agents that many people have: a rule that leaves all of them out is a mistake, or the end of counting.
var people = [...]string{
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
	"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
	"Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
}

// LeavesOutAll says which of a site's settings leaves out all that there is, or nearly, and is more likely a mistake than
// meant; "" if none does. The settings have passed CheckSettings.
func LeavesOutAll(domain string, s *storage.Settings) string {
	hosts := NewRules(&storage.Settings{Hosts: s.Hosts}, nil)
	if hosts != nil && !hosts.allowsHost(domain) {
		return fmt.Sprintf("the allowed hosts leave out %s itself", domain)
	}
	for _, p := range s.Exclude.Paths {
		one := compilePaths([]string{p})
		if one != nil && one.MatchString("/") && one.MatchString("/a/b-c/d.html") {
			return fmt.Sprintf("path %q leaves out every page", p)
		}
	}
	for _, n := range s.Exclude.Networks {
		// The largest networks that are given out are /8 of IPv4 and some /16 of IPv6.
		if p, err := netip.ParsePrefix(n); err == nil && (p.Bits() < 8 || p.Addr().Is6() && p.Bits() < 16) {
			return fmt.Sprintf("network %s leaves out much of the internet", n)
		}
	}
	for _, a := range s.Exclude.Agents {
		if !slices.ContainsFunc(people[:], func(ua string) bool { return !containsLower(ua, a) }) {
			return fmt.Sprintf("user agent %q leaves out every browser", a)
		}
	}
	return ""
}
