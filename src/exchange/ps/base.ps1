# For Windows PowerShell 2 (Exchange 2010) as for 5.1: nothing here is newer. What is asked comes as base64 of JSON and is data
# throughout; no text of it becomes code. One JSON document in ASCII goes back, between two marks.
param([string]$Arguments)
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$invariant = [Globalization.CultureInfo]::InvariantCulture

function Read-Argument([string]$Encoded) {
    Add-Type -AssemblyName 'System.Web.Extensions'
    $reader = New-Object -TypeName 'System.Web.Script.Serialization.JavaScriptSerializer'
    $reader.MaxJsonLength = [int]::MaxValue
    $text = [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($Encoded))
    return $reader.DeserializeObject($text)
}

# A text in quotes; all but printable ASCII is escaped, so that no code page between here and there matters.
function Format-Text([string]$Text) {
    $out = New-Object -TypeName 'System.Text.StringBuilder'
    [void]$out.Append('"')
    foreach ($letter in $Text.ToCharArray()) {
        $code = [int]$letter
        if ($code -eq 34 -or $code -eq 92) {
            [void]$out.Append('\').Append($letter)
        } elseif ($code -lt 32 -or $code -gt 126) {
            [void]$out.Append('\u').Append($code.ToString('x4', $invariant))
        } else {
            [void]$out.Append($letter)
        }
    }
    [void]$out.Append('"')
    return $out.ToString()
}

function Format-List($List, [int]$Depth) {
    $parts = @()
    foreach ($element in $List) {
        $parts += (Format-Value $element $Depth)
    }
    return '[' + [string]::Join(',', [string[]]$parts) + ']'
}

# What tells an object apart after it went through a session: its type, its text, and the few properties that are read.
$telling = @('IsUnlimited', 'Value', 'Key', 'Ticks', 'Name', 'DistinguishedName', 'ObjectGuid', 'AbsoluteUri', 'IPAddressToString', 'ProxyAddressString')

function Format-Object($Value, [int]$Depth) {
    $parts = @()
    $parts += ('"$type":' + (Format-Text ($Value.PSObject.TypeNames[0])))
    $parts += ('"$text":' + (Format-Text ([string]$Value)))
    if ($Depth -gt 0) {
        foreach ($name in $telling) {
            $property = $Value.PSObject.Properties[$name]
            if ($null -eq $property) { continue }
            # Some cannot be read: what is unlimited has no value, and says so by an error.
            try { $inner = $property.Value } catch { continue }
            $parts += ((Format-Text $name) + ':' + (Format-Value $inner ($Depth - 1)))
        }
    }
    return '{' + [string]::Join(',', [string[]]$parts) + '}'
}

function Format-Value($Value, [int]$Depth) {
    if ($null -eq $Value) { return 'null' }
    if ($Value -is [string]) { return Format-Text $Value }
    if ($Value -is [bool]) { if ($Value) { return 'true' } else { return 'false' } }
    # A number with a name that the session left beside it; alone it would be the number.
    if ($Value.PSObject.TypeNames -contains 'Deserialized.System.Enum') { return Format-Object $Value 0 }
    if ($Value -is [Enum]) { return Format-Text ($Value.ToString()) }
    if ($Value -is [byte] -or $Value -is [int16] -or $Value -is [int] -or $Value -is [long] -or $Value -is [uint16] -or $Value -is [uint32]) {
        return $Value.ToString($invariant)
    }
    if ($Value -is [DateTime]) { return Format-Text ($Value.ToUniversalTime().ToString('o', $invariant)) }
    if ($Value -is [Guid]) { return Format-Text ($Value.ToString()) }
    if ($Value -is [byte[]]) { return 'null' }
    if ($Value -is [Collections.IEnumerable]) { return Format-List $Value $Depth }
    return Format-Object $Value $Depth
}

# Only this reason means that something is not there. Every other error means that it is not known.
function Format-Failure($Record) {
    $reason = [string]$Record.CategoryInfo.Reason
    $absent = 'false'
    if ($reason -eq 'ManagementObjectNotFoundException') { $absent = 'true' }
    return '{"id":' + (Format-Text ([string]$Record.FullyQualifiedErrorId)) + ',"reason":' + (Format-Text $reason) + ',"text":' + (Format-Text ([string]$Record.Exception.Message)) + ',"absent":' + $absent + '}'
}

function Write-Answer([string]$Json) {
    [Console]::Out.WriteLine('-----BEGIN CUTOVER ANSWER-----')
    [Console]::Out.WriteLine($Json)
    [Console]::Out.WriteLine('-----END CUTOVER ANSWER-----')
}

# The shell of the product, once; called with a dot, so that what it brings stays. A session without credentials for the directory (a login by key) fails here or at the first call.
function Open-Shell {
    $start = [IO.Path]::Combine($env:ExchangeInstallPath, 'bin\RemoteExchange.ps1')
    . $start
    Connect-ExchangeServer -Auto
}

# Sessions that stay open leave a module on the disk each.
function Close-Shell {
    Get-PSSession | Remove-PSSession
}
