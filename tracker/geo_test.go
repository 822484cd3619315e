package tracker

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"go4.org/netipx"
)

func openGeo(tb testing.TB, file string) *Geo {
	tb.Helper()
	geo, err := OpenGeo(file)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := geo.Close(); err != nil {
			tb.Error(err)
		}
	})
	return geo
}

func TestEmbeddedCountries(t *testing.T) {
	geo := openGeo(t, "")
	for addr, want := range map[string]string{
		"8.8.8.8":              "US",
		"193.99.144.80":        "DE", // heise.de
		"2a02:2e0:3fe:1001::":  "DE",
		"194.232.104.150":      "AT", // ORF
		"212.58.244.70":        "GB", // BBC
		"133.11.0.1":           "JP", // University of Tokyo
		"200.160.2.3":          "BR", // nic.br
		"2001:4860:4860::8888": "US",
		"::ffff:193.99.144.80": "DE",
		"127.0.0.1":            "",
		"::1":                  "",
		"10.1.2.3":             "",
		"192.168.1.1":          "",
		"172.16.0.1":           "",
		"169.254.1.1":          "",
		"fe80::1":              "",
		"fd00::1":              "",
		"203.0.113.7":          "", // documentation
		"0.0.0.0":              "",
		"255.255.255.255":      "",
	} {
		if got := geo.locate(netip.MustParseAddr(addr)); got != (place{country: want}) {
			t.Errorf("%s is in %+v, want %q", addr, got, want)
		}
	}
	if got := geo.locate(netip.Addr{}); got != (place{}) {
		t.Errorf("no address is in %+v", got)
	}
}

// writeDatabase writes a database of a type, in which 1.0.0.0/8 has the record, and returns its path.
func writeDatabase(t *testing.T, databaseType string, record mmdbtype.DataType) string {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: databaseType, RecordSize: 24})
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Insert(netipx.PrefixIPNet(netip.MustParsePrefix("1.0.0.0/8")), record); err != nil {
		t.Fatal(err)
	}
	var db bytes.Buffer
	if _, err := tree.WriteTo(&db); err != nil {
		t.Fatal(err)
	}
	return writeFile(t, "x.mmdb", db.Bytes())
}

func writeFile(t *testing.T, name string, content []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestGeoFile(t *testing.T) {
	country := mmdbtype.Map{"iso_code": mmdbtype.String("DE")}
	names := func(english string) mmdbtype.Map {
		return mmdbtype.Map{"names": mmdbtype.Map{"en": mmdbtype.String(english), "de": mmdbtype.String("anders")}}
	}
	bavaria := mmdbtype.Map{"iso_code": mmdbtype.String("BY")}
	full := mmdbtype.Map{"country": country, "city": names("Munich"), "subdivisions": mmdbtype.Slice{bavaria, mmdbtype.Map{"iso_code": mmdbtype.String("091")}}}
	for _, c := range []struct {
		databaseType string
		record       mmdbtype.Map
		want         place
	}{
		{"GeoLite2-Country", mmdbtype.Map{"country": country}, place{"DE", "", ""}},
		{"DBIP-Country-Lite", mmdbtype.Map{"country": country}, place{"DE", "", ""}},
		{"GeoLite2-City", full, place{"DE", "DE-BY", "Munich"}},
		{"GeoIP2-City", full, place{"DE", "DE-BY", "Munich"}},
		{"DBIP-Location (compat=City)", full, place{"DE", "DE-BY", "Munich"}},
		// The free one has names of regions only.
		{"DBIP-City-Lite", mmdbtype.Map{"country": country, "city": names("Munich"), "subdivisions": mmdbtype.Slice{names("Bavaria")}}, place{"DE", "", "Munich"}},
		{"GeoLite2-City", mmdbtype.Map{"country": country}, place{"DE", "", ""}},
		{"GeoLite2-City", mmdbtype.Map{"subdivisions": mmdbtype.Slice{bavaria}}, place{}},
	} {
		geo := openGeo(t, writeDatabase(t, c.databaseType, c.record))
		if got := geo.locate(netip.MustParseAddr("1.0.0.1")); got != c.want {
			t.Errorf("%s: 1.0.0.1 is in %+v, want %+v", c.databaseType, got, c.want)
		}
		if got := geo.locate(netip.MustParseAddr("2.0.0.1")); got != (place{}) {
			t.Errorf("%s: an unknown address is in %+v", c.databaseType, got)
		}
	}
}

func TestGeoFileRefused(t *testing.T) {
	asn := writeDatabase(t, "GeoLite2-ASN", mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(1)})
	own := writeDatabase(t, "My-Own-Table", mmdbtype.Map{"x": mmdbtype.Uint32(1)})
	country := mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.Uint32(1)}}
	for _, c := range []struct{ name, file, want string }{
		{"missing", filepath.Join(t.TempDir(), "none.mmdb"), "no such file"},
		{"empty", writeFile(t, "x.mmdb", nil), "unpacked .mmdb"},
		{"no database", writeFile(t, "x.mmdb", []byte(strings.Repeat("hello ", 1000))), "unpacked .mmdb"},
		{"directory", t.TempDir(), "unpacked .mmdb"},
		{"cut off", writeFile(t, "x.mmdb", countryTable[:len(countryTable)/2]), "unpacked .mmdb"},
		{"without its middle", writeFile(t, "x.mmdb", append(bytes.Clone(countryTable[:1000]), countryTable[len(countryTable)-400:]...)), ""},
		{"other table", asn, `"GeoLite2-ASN"; give a country or city database`},
		{"unknown type", own, `"My-Own-Table"; give a country or city database`},
		{"wrong record", writeDatabase(t, "GeoLite2-Country", country), "damaged"},
	} {
		geo, err := OpenGeo(c.file)
		if err == nil {
			_ = geo.Close()
			t.Errorf("%s: opened", c.name)
			continue
		}
		if !strings.Contains(err.Error(), c.file) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %q, want one with the file's name and %q", c.name, err, c.want)
		}
	}
}
