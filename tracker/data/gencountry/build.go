package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"go4.org/netipx"
)

// span is an inclusive range of addresses in one country.
type span struct {
	first, last netip.Addr
	country     string
}

// build writes the database of both tables. The result depends on nothing but the tables.
func build(w io.Writer, tables [len(inputs)][]byte) error {
	generated, err := generatedAt(tables)
	if err != nil {
		return err
	}
	tree, err := mmdbwriter.New(mmdbwriter.Options{
		// Readers go by the type: this one promises a record with country.iso_code, as that of MaxMind does.
		DatabaseType: "GeoLite2-Country",
		Description:  map[string]string{"en": "IPFire location data, CC BY-SA 4.0, https://location.ipfire.org/, by way of Debian's tor-geoipdb"},
		BuildEpoch:   generated.Unix(),
		RecordSize:   24,
	})
	if err != nil {
		return fmt.Errorf("make tree: %w", err)
	}
	for i, table := range tables {
		if err := insert(tree, table); err != nil {
			return fmt.Errorf("table %s: %w", inputs[i], err)
		}
	}
	if _, err := tree.WriteTo(w); err != nil {
		return fmt.Errorf("encode database: %w", err)
	}
	return nil
}

// generatedAt returns the newer of the dates that the tables' headers name.
func generatedAt(tables [len(inputs)][]byte) (latest time.Time, err error) {
	for i, table := range tables {
		_, rest, found := bytes.Cut(table, []byte("# Generated: "))
		line, _, _ := bytes.Cut(rest, []byte("\n"))
		at, err := time.Parse(time.RFC1123, string(bytes.TrimSpace(line)))
		if !found || err != nil {
			return latest, fmt.Errorf("table %s: no line \"# Generated: DATE\" in its header", inputs[i])
		}
		if at.After(latest) {
			latest = at
		}
	}
	return latest, nil
}

func insert(tree *mmdbwriter.Tree, table []byte) error {
	spans, err := parse(table)
	if err != nil {
		return err
	}
	for _, s := range spans {
		record := mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String(s.country)}}
		for _, prefix := range netipx.IPRangeFrom(s.first, s.last).Prefixes() {
			err := tree.Insert(netipx.PrefixIPNet(prefix), record)
			// Addresses that belong to nobody (private, documentation, 6to4) have no country, whatever the table says.
			if reserved, alias := (*mmdbwriter.ReservedNetworkError)(nil), (*mmdbwriter.AliasedNetworkError)(nil); errors.As(err, &reserved) || errors.As(err, &alias) {
				continue
			}
			if err != nil {
				return fmt.Errorf("insert %v: %w", prefix, err)
			}
		}
	}
	return nil
}

// parse reads lines of first,last,country. Neighbours of one country become one span, which makes insertion
// several times faster. Spans without a country are left out.
func parse(table []byte) ([]span, error) {
	var spans []span
	lines := bufio.NewScanner(bytes.NewReader(table))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		s, err := parseSpan(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if s.country == "" {
			continue
		}
		if k := len(spans) - 1; k >= 0 && spans[k].country == s.country && spans[k].last.Next() == s.first {
			spans[k].last = s.last
			continue
		}
		spans = append(spans, s)
	}
	return spans, lines.Err()
}

func parseSpan(line string) (span, error) {
	first, rest, _ := strings.Cut(line, ",")
	last, code, found := strings.Cut(rest, ",")
	if !found {
		return span{}, fmt.Errorf("%q: want first,last,country", line)
	}
	s := span{country: country(code)}
	var err error
	if s.first, err = parseAddr(first); err != nil {
		return s, err
	}
	if s.last, err = parseAddr(last); err != nil {
		return s, err
	}
	if s.first.BitLen() != s.last.BitLen() || s.last.Less(s.first) {
		return s, fmt.Errorf("%q: the range is empty", line)
	}
	return s, nil
}

// parseAddr reads an IPv6 address, or an IPv4 address written as a number.
func parseAddr(s string) (netip.Addr, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return netip.ParseAddr(s)
	}
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}), nil
}

// country returns the ISO 3166-1 code that a table's code stands for, or "" if it is none: ?? is unknown, EU and AP
// are regions, and some codes are withdrawn or mistyped.
func country(code string) string {
	if code == "UK" {
		return "GB"
	}
	if len(code) == 2 && strings.Contains(isoCountries, code+" ") {
		return code
	}
	return ""
}

// isoCountries are the officially assigned codes of ISO 3166-1 alpha-2, and XK, which most data sets use for Kosovo.
const isoCountries = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ " +
	"CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR " +
	"GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP " +
	"KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ " +
	"NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW " +
	"SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ " +
	"UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW "
