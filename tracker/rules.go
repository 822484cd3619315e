package tracker

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"dachs/storage"
)

// Rules are what a site's owner leaves out, in a form that is quick to ask. They never change, so many goroutines may use
// them. The nil Rules leave nothing out.
type Rules struct {
	hosts     []string // without "*.", which any says
	any       []bool   // for each of hosts: all below it, and not itself
	paths     *regexp.Regexp
	countries []string
	networks  *Networks
	agents    []string // in lower case
	headless  bool
	centres   *Networks
}

// NewRules compiles what CheckSettings has let pass; what it would not have is passed over. dataCentres are the operator's,
// nil for none.
func NewRules(s *storage.Settings, dataCentres *Networks) *Rules {
	e := &s.Exclude
	if len(s.Hosts)+len(e.Paths)+len(e.Countries)+len(e.Networks)+len(e.Agents) == 0 && !e.Headless && !e.DataCentres {
		return nil
	}
	r := &Rules{paths: compilePaths(e.Paths), countries: slices.Clone(e.Countries), headless: e.Headless}
	if e.DataCentres {
		r.centres = dataCentres
	}
	for _, h := range s.Hosts {
		host, any := strings.CutPrefix(h, anySub)
		r.hosts, r.any = append(r.hosts, host), append(r.any, any)
	}
	var networks []netip.Prefix
	for _, n := range e.Networks {
		if p, err := parseNetwork(n); err == nil {
			networks = append(networks, p)
		}
	}
	if networks != nil {
		r.networks = NewNetworks(networks)
	}
	for _, a := range e.Agents {
		r.agents = append(r.agents, strings.ToLower(a))
	}
	return r
}

// Judge says why a hit is not counted, or Accepted. What is cheap to ask comes first.
func (r *Rules) Judge(c *Client, h *Hit) Reason {
	switch {
	case r == nil:
		return Accepted
	case r.headless && c.Bare && !c.Trusted:
		return Headless
	case !r.allowsHost(h.Hostname):
		return Host
	case slices.Contains(r.countries, h.Attributes.Country):
		return Country
	case r.networks.Contains(c.Addr):
		return Network
	case r.centres.Contains(c.Addr):
		return DataCentre
	case r.excludesAgent(c.UserAgent):
		return Agent
	case r.excludesPath(h.Path):
		return Path
	}
	return Accepted
}

// anySub before a host stands for all hosts below it.
const anySub = "*."

func (r *Rules) allowsHost(host string) bool {
	if len(r.hosts) == 0 {
		return true
	}
	for i, allowed := range r.hosts {
		sub, below := strings.CutSuffix(host, allowed)
		if below && (sub == "" && !r.any[i] || r.any[i] && len(sub) > 1 && strings.HasSuffix(sub, ".")) {
			return true
		}
	}
	return false
}

func (r *Rules) excludesAgent(userAgent string) bool {
	for _, part := range r.agents {
		if containsLower(userAgent, part) {
			return true
		}
	}
	return false
}

// containsLower is strings.Contains(strings.ToLower(s), part) for ASCII, without a copy.
func containsLower(s, part string) bool {
	for i := 0; i+len(part) <= len(s); i++ {
		n := 0
		for n < len(part) && lowerASCII(s[i+n]) == part[n] {
			n++
		}
		if n == len(part) {
			return true
		}
	}
	return false
}

func lowerASCII(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// excludesPath tells whether a page is left out: by its path, whatever parameters belong to it.
func (r *Rules) excludesPath(path string) bool {
	if r.paths == nil {
		return false
	}
	path, _, _ = strings.Cut(path, "?")
	return r.paths.MatchString(path)
}

// compilePaths makes one expression of patterns in which * stands for anything but a slash and ** for anything. Go's
// expressions take time in proportion to the path, whatever the pattern: a hostile path cannot hold up anybody.
func compilePaths(patterns []string) *regexp.Regexp {
	if len(patterns) == 0 {
		return nil
	}
	var b strings.Builder
	b.WriteString(`^(?:`)
	for i, p := range patterns {
		if i > 0 {
			b.WriteByte('|')
		}
		for p != "" {
			star := strings.IndexByte(p, '*')
			if star < 0 {
				star = len(p)
			}
			b.WriteString(regexp.QuoteMeta(p[:star]))
			stars := len(p[star:]) - len(strings.TrimLeft(p[star:], "*"))
			switch {
			case stars == 1:
				b.WriteString(`[^/]*`)
			case stars > 1:
				b.WriteString(`.*`)
			}
			p = p[star+stars:]
		}
	}
	b.WriteString(`)$`)
	compiled, err := regexp.Compile(`(?s)` + b.String())
	if err != nil {
		return nil // not UTF-8, or larger than CheckSettings lets it grow
	}
	return compiled
}

// ruling is the rules of a site with the settings that they were made from.
type ruling struct {
	settings storage.Settings
	rules    *Rules
}

// rules returns the rules of a site as its settings are now. They are compiled when the settings have changed.
func (t *Tracker) rules(site *storage.Site) *Rules {
	if known, ok := t.rulings.Load(site.ID); ok {
		if r := known.(*ruling); sameSettings(&r.settings, &site.Settings) {
			return r.rules
		}
	}
	r := &ruling{site.Settings, NewRules(&site.Settings, t.dataCentres)}
	t.rulings.Store(site.ID, r)
	return r.rules
}

// sameSettings tells whether two settings are the same as far as rules go. The store copies lists before it changes them,
// so those that begin at the same place are the same; that is quicker than comparing a thousand networks for each hit.
func sameSettings(a, b *storage.Settings) bool {
	x, y := &a.Exclude, &b.Exclude
	return x.Headless == y.Headless && x.DataCentres == y.DataCentres && sameList(a.Hosts, b.Hosts) &&
		sameList(x.Paths, y.Paths) && sameList(x.Countries, y.Countries) && sameList(x.Networks, y.Networks) && sameList(x.Agents, y.Agents)
}

func sameList(a, b []string) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}
